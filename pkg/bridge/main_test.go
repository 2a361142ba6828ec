package bridge

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		os.Exit(hostMain())
	}
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}
