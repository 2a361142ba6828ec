package bfd

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestMain(m *testing.M) {
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}
