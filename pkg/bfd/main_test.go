package bfd

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestMain(m *testing.M) {
	nettest.Main(func() {
		if role := os.Getenv(soakRole); role != "" {
			play(role)
			return
		}
		goleak.VerifyTestMain(m)
	})
}
