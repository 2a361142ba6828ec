package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/bfd"
)

var router = netip.MustParseAddr("fd00::2")

// A fakeSpeaker notes its orders, and refuses them while it has an error.
type fakeSpeaker struct {
	orders []string
	err    error
}

func (f *fakeSpeaker) Hold(_ context.Context, n netip.Addr, reason string) error {
	f.orders = append(f.orders, "hold "+n.String()+": "+reason)
	return f.err
}

func (f *fakeSpeaker) Release(_ context.Context, n netip.Addr) error {
	f.orders = append(f.orders, "release "+n.String())
	return f.err
}

func newTest(t *testing.T, strict bool) (s *Sessions, speaker *fakeSpeaker, events *[]Event, log *bytes.Buffer) {
	t.Helper()
	speaker, events, log = new(fakeSpeaker), new([]Event), new(bytes.Buffer)
	s, err := New(slog.New(slog.NewTextHandler(log, nil)), speaker, func(e Event) { *events = append(*events, e) },
		Neighbor{Config: bfd.Config{Peer: router}, Strict: strict})
	if err != nil {
		t.Fatal(err)
	}
	return s, speaker, events, log
}

func TestOrders(t *testing.T) {
	s, speaker, events, log := newTest(t, true)
	now := time.Now()
	for _, st := range []bfd.Status{silent, silent, up, up, failed, failed, up} {
		s.stepOne(t.Context(), s.watched[0], st, now)
	}
	want := []string{"hold fd00::2: " + notYet, "release fd00::2", "hold fd00::2: " + down, "release fd00::2"}
	if diff := cmp.Diff(want, speaker.orders); diff != "" {
		t.Errorf("orders (-want +got)\n%s", diff)
	}
	var held []string
	for _, e := range *events {
		held = append(held, e.BFD.State.String()+": "+e.Held)
	}
	if diff := cmp.Diff([]string{"down: " + notYet, "up: ", "down: " + down, "up: "}, held); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	for _, line := range []string{`level=WARN msg="BGP session is held" neighbor=fd00::2 bfd=down reason="` + down, `level=INFO msg="BGP session is released"`} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("log lacks %s:\n%s", line, log)
		}
	}
	select {
	case <-s.Changed():
	default:
		t.Error("no change was signaled")
	}
	if st := s.Status()[0]; st.Neighbor != router || st.Held != "" || st.Flaps != 1 || !st.Strict {
		t.Errorf("status %+v", st)
	}
}

func TestRefusedOrderIsRepeated(t *testing.T) {
	s, speaker, _, log := newTest(t, false)
	now := time.Now()
	s.stepOne(t.Context(), s.watched[0], up, now)
	speaker.err = errors.New("no such session")
	for range 3 {
		if again := s.stepOne(t.Context(), s.watched[0], failed, now); again != now.Add(retry) {
			t.Errorf("tried again at %v, want %v later", again, retry)
		}
	}
	speaker.err = nil
	for range 2 {
		s.stepOne(t.Context(), s.watched[0], failed, now)
	}
	if n := len(speaker.orders); n != 5 {
		t.Errorf("orders %q, want the first, three refused, and one more", speaker.orders)
	}
	if n := strings.Count(log.String(), "BGP does not follow BFD"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(nil, &fakeSpeaker{}, nil, Neighbor{}); err == nil || !strings.HasPrefix(err.Error(), "session: ") {
		t.Errorf("error %v, want one about the missing peer", err)
	}
}

func TestMetrics(t *testing.T) {
	s, _, _, _ := newTest(t, false)
	for _, st := range []bfd.Status{up, failed} {
		s.stepOne(t.Context(), s.watched[0], st, time.Now())
	}
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	const want = `
# HELP anyedge_session_held 1 while BFD keeps the BGP session with a neighbor closed.
# TYPE anyedge_session_held gauge
anyedge_session_held{neighbor="fd00::2"} 1
# HELP anyedge_session_holds_total How often BFD closed the BGP session with a neighbor, or did not let it open.
# TYPE anyedge_session_holds_total counter
anyedge_session_holds_total{neighbor="fd00::2"} 1
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), "anyedge_session_held", "anyedge_session_holds_total"); err != nil {
		t.Error(err)
	}
}
