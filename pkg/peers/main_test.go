package peers

import (
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(func() { goleak.VerifyTestMain(m) }) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var (
	vip6 = addr("2001:db8:53::53")
	vip4 = addr("192.0.2.53")
)
