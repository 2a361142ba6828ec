package session_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

// GoBGP ends a session without draining its unbounded queue for good: the queue's goroutine may stay behind.
func TestMain(m *testing.M) {
	nettest.Main(func() {
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
	})
}
