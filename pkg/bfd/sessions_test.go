package bfd

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

var (
	ours   = netip.MustParseAddr("127.0.0.1")
	theirs = netip.MustParseAddr("127.0.0.2")
)

// run runs sessions until the returned function is called, or the test ends.
func run(t testing.TB, configs ...Config) (s *Sessions, stop func()) {
	t.Helper()
	s, err := New(slog.New(slog.NewTextHandler(t.Output(), nil)), configs...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

// await waits until the first session's status is as asked.
func await(t testing.TB, s *Sessions, what string, is func(Status) bool) Status {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		if status := s.Status()[0]; is(status) {
			return status
		}
		select {
		case <-s.Changed():
		case <-limit:
			t.Fatalf("never %s: %+v", what, s.Status()[0])
		}
	}
}

func up(s Status) bool { return s.State == Up }

func TestUpAndShut(t *testing.T) {
	nettest.Need(t)
	a, stop := run(t, Config{Local: ours, Peer: theirs})
	b, _ := run(t, Config{Local: theirs, Peer: ours})
	await(t, a, "up", up)
	await(t, b, "fast", func(s Status) bool { return s.State == Up && s.DetectionTime == 150*time.Millisecond })
	time.Sleep(time.Second)
	t.Logf("%+v\n%v", a.Status()[0], a.Late())
	stop()
	s := await(t, b, "down", func(s Status) bool { return s.State == Down })
	t.Logf("%+v\n%v", s, b.Discarded())
}
