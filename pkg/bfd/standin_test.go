package bfd

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// What is overdue is sent, at the session's pace, for as long as the loop may be late; then no more.
func TestCover(t *testing.T) {
	nettest.Need(t)
	r, err := newReceiver(listen{address: netip.AddrPortFrom(ours, 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	fd, err := connected(r)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)

	up := newRunner(in(Up, Config{Interval: 100 * ms}))
	up.senders[0].fd = fd
	idle := newRunner(in(Init, Config{}))
	s := newStandIn([]*runner{up, idle}, -1)
	const clock = int64(1000 * time.Hour)
	s.slots[0].brief(up, epoch, clock)
	s.slots[1].brief(idle, epoch, clock)
	due := up.next.Sub(epoch) + 25*ms
	if nap := s.cover(clock); time.Duration(nap) != min(due, 50*ms) {
		t.Errorf("naps for %s though a packet is due in %s", time.Duration(nap), due)
	}
	sent := 0
	for at := time.Duration(0); at < 3*time.Second; at += ms {
		s.cover(clock + int64(at))
		d, ok := r.receive()
		if !ok {
			continue
		}
		if sent++; sent == 1 && at < due-ms {
			t.Errorf("the first one came after %s, due was %s", at, due)
		}
		p, err := parse(d.payload)
		if err != nil || p.state != Up || p.myDiscr != ownDiscr || p.yourDiscr != itsDiscr || !p.poll || p.final {
			t.Errorf("%+v, %v", p, err)
		}
		if at > patience {
			t.Errorf("sends after %s", at)
		}
	}
	if sent < 10 || sent > 13 { // in 1 s, 75 to 90 ms apart
		t.Errorf("%d packets", sent)
	}
	s.slots[0].covered(up, epoch.Add(3*time.Second), clock+int64(3*time.Second))
	if since := up.lastSent.Sub(epoch); since < 900*ms || since > patience {
		t.Errorf("the loop believes that the last packet was sent after %s", since)
	}
	up.remoteState, up.remoteDemand, up.polling = Up, true, false
	s.slots[0].brief(up, epoch, clock)
	if s.slots[0].due != 0 {
		t.Error("sends to a peer in Demand mode")
	}
}

// While the loop is blocked the peer gets its packets, and the session stays up at both ends.
func TestBlockedLoopIsCovered(t *testing.T) {
	nettest.Need(t)
	block, blocked := make(chan struct{}), make(chan struct{})
	var once bool
	a, _ := run(t, Config{Local: ours, Peer: theirs, Interval: 50 * ms, Multiplier: 10}, Config{Local: ours, Peer: netip.MustParseAddr("127.0.0.3"), OnChange: func(s Status) {
		if s.State == Init && !once {
			once = true
			close(blocked)
			<-block
		}
	}})
	b, _ := run(t, Config{Local: theirs, Peer: ours, Interval: 50 * ms, Multiplier: 10})
	await(t, b, "fast", func(s Status) bool { return up(s) && s.DetectionTime == 500*ms })
	await(t, a, "fast", func(s Status) bool { return up(s) && s.DetectionTime == 500*ms })
	since := b.Status()[0].Since
	f := newFakePeer(t)
	_ = f.conn.Close()
	f.conn = listenOn(t, netip.MustParseAddr("127.0.0.3"))
	f.ttl(255)
	f.say(f.sample.append(nil))
	<-blocked
	time.Sleep(900 * ms) // longer than the detection time, shorter than patience
	close(block)
	await(t, a, "back", func(Status) bool { return a.Status()[1].State == Init })
	if s := b.Status()[0]; s.State != Up || s.Since != since {
		t.Errorf("%+v", s)
	}
	if s := a.Status()[0]; s.StoodIn == 0 {
		t.Errorf("%+v", s)
	}
}

// The garbage collector and the scheduler get along with a goroutine that is in one system call for ever.
func TestStandInAndCollector(t *testing.T) {
	nettest.Need(t)
	a, _ := run(t, Config{Local: ours, Peer: theirs, Interval: 20 * ms, Multiplier: 20})
	b, _ := run(t, Config{Local: theirs, Peer: ours, Interval: 20 * ms, Multiplier: 20})
	await(t, a, "up", up)
	await(t, b, "up", up)
	var keep [][]byte
	for range 50 {
		for range 100 {
			keep = append(keep, make([]byte, 10_000))
		}
		runtime.GC()
		debugStacks()
	}
	runtime.KeepAlive(keep)
	if s := a.Status()[0]; s.State != Up {
		t.Errorf("%+v", s)
	}
}

// debugStacks stops the world and walks all stacks.
func debugStacks() { runtime.Stack(make([]byte, 1<<16), true) }

func TestSelfTest(t *testing.T) {
	nettest.Need(t)
	worst, ok := SelfTest(t.Context(), 5*ms, 255)
	if !ok || worst > time.Second {
		t.Errorf("worst %s, ok %v", worst, ok)
	}
	t.Logf("worst %s", worst)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := SelfTest(ctx, 10*ms, 3); ok {
		t.Error("ok without a test")
	}
	for _, tt := range []struct {
		interval   time.Duration
		multiplier uint8
		want       time.Duration
	}{{10 * ms, 3, 10 * ms}, {50 * ms, 3, 50 * ms}, {40 * ms, 1, 5 * ms}} {
		if got := allowed(tt.interval, tt.multiplier); got != tt.want {
			t.Errorf("%s x %d: %s, want %s", tt.interval, tt.multiplier, got, tt.want)
		}
	}
}
