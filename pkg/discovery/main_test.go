package discovery

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

// envServe makes the test binary a pod of its own, whose CPU time is not that of who asks it; its value is where it listens.
const envServe = "ANYEDGE_DISCOVERY_SERVE"

func TestMain(m *testing.M) {
	if address := os.Getenv(envServe); address != "" {
		fmt.Println(servePage(address))
		os.Exit(1)
	}
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}

// servePage answers every request with the metrics of edgeprobe app, until the process is killed.
func servePage(address string) error {
	page, err := os.ReadFile("testdata/app.prom")
	if err != nil {
		return err
	}
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
		_, _ = w.Write(page)
	}))
}
