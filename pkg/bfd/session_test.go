package bfd

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	ms       = time.Millisecond
	ownDiscr = 0x11
	itsDiscr = 0x22
)

var epoch = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// machine returns a started session, 50 ms x 3 unless c says else.
func machine(c Config) *session {
	s := newSession(c.withDefaults(), ownDiscr, rand.New(rand.NewPCG(1, 2)))
	s.start(epoch)
	return s
}

// told is a packet of the peer that wants 100 ms x 3.
func told(state State) packet {
	return packet{state: state, detectMult: 3, myDiscr: itsDiscr, yourDiscr: ownDiscr, desiredMinTx: 100 * ms, requiredMin: 100 * ms}
}

// in brings a session into a state at epoch, and takes all that it has to say.
func in(state State, c Config) *session {
	s := machine(c)
	switch state {
	case AdminDown:
		s.receive(told(Init), epoch)
		s.shut(epoch)
	case Init:
		s.receive(told(Down), epoch)
	case Up:
		s.receive(told(Init), epoch)
	}
	quiet(s, epoch)
	return s
}

// quiet takes what is due.
func quiet(s *session, now time.Time) (sent []packet) {
	for {
		p, due := s.transmit(now)
		if !due {
			return sent
		}
		sent = append(sent, p)
	}
}

// RFC 5880 section 6.2 and the last rules of section 6.8.6: every state, every state of the peer.
func TestStates(t *testing.T) {
	type outcome struct {
		State  State
		Diag   Diag
		Failed bool
		Says   bool // sends something at once
	}
	for _, tt := range []struct {
		is, peer State
		want     outcome
	}{
		{AdminDown, AdminDown, outcome{AdminDown, Administrator, false, false}},
		{AdminDown, Down, outcome{AdminDown, Administrator, false, false}},
		{AdminDown, Init, outcome{AdminDown, Administrator, false, false}},
		{AdminDown, Up, outcome{AdminDown, Administrator, false, false}},
		{Down, AdminDown, outcome{Down, NoDiag, false, false}},
		{Down, Down, outcome{Init, NoDiag, false, true}},
		{Down, Init, outcome{Up, NoDiag, false, true}},
		{Down, Up, outcome{Down, NoDiag, false, false}},
		{Init, AdminDown, outcome{Down, NeighborDown, false, true}},
		{Init, Down, outcome{Init, NoDiag, false, false}},
		{Init, Init, outcome{Up, NoDiag, false, true}},
		{Init, Up, outcome{Up, NoDiag, false, true}},
		{Up, AdminDown, outcome{Down, NeighborDown, false, true}}, // not a failure: RFC 5882 section 3.2
		{Up, Down, outcome{Down, NeighborDown, true, true}},
		{Up, Init, outcome{Up, NoDiag, false, false}},
		{Up, Up, outcome{Up, NoDiag, false, false}},
	} {
		t.Run(tt.is.String()+" hears "+tt.peer.String(), func(t *testing.T) {
			s := in(tt.is, Config{})
			s.receive(told(tt.peer), epoch)
			sent := quiet(s, epoch)
			got := outcome{s.state, s.diag, s.failed, len(sent) > 0}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Says && (sent[0].state != s.state || sent[0].diag != s.diag || sent[0].yourDiscr != itsDiscr) {
				t.Errorf("sent %+v", sent[0])
			}
		})
	}
}

// The rules of RFC 5880 section 6.8.6 that set variables.
func TestReceiveVariables(t *testing.T) {
	s := in(Up, Config{})
	p := packet{state: Up, diag: 5, demand: true, final: true, detectMult: 7, myDiscr: 0x33, yourDiscr: ownDiscr,
		desiredMinTx: 20 * ms, requiredMin: 300 * ms, requiredMinEcho: time.Second}
	if !s.polling {
		t.Error("no Poll Sequence after the session came up")
	}
	s.receive(p, epoch.Add(5*ms))
	type variables struct {
		RemoteDiscr                    uint32
		RemoteState                    State
		RemoteDiag                     Diag
		RemoteDemand, Polling          bool
		RemoteMinRx, Interval, Detects time.Duration
		Heard                          time.Time
	}
	want := variables{0x33, Up, 5, true, false, 300 * ms, 300 * ms, 7 * 50 * ms, epoch.Add(5 * ms)}
	got := variables{s.remoteDiscr, s.remoteState, s.remoteDiag, s.remoteDemand, s.polling, s.remoteMinRx, s.interval,
		s.detectionTime(), s.heard}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A Poll is answered at once with F, never with both bits, in every state but AdminDown.
func TestPollIsAnswered(t *testing.T) {
	for _, state := range []State{AdminDown, Down, Init, Up} {
		t.Run(state.String(), func(t *testing.T) {
			s := in(state, Config{})
			next := s.next
			p := told(Up)
			p.poll = true
			s.receive(p, epoch)
			sent := quiet(s, epoch)
			if state == AdminDown {
				if len(sent) != 0 {
					t.Errorf("sent %+v", sent)
				}
				return
			}
			if len(sent) != 1 || !sent[0].final || sent[0].poll {
				t.Fatalf("sent %+v", sent)
			}
			if state != Init && s.next != next {
				t.Error("the answer moved the periodic packets")
			}
		})
	}
}

// A Poll Sequence lasts until F comes: every periodic packet carries P.
func TestPollSequence(t *testing.T) {
	s := in(Up, Config{})
	now := epoch
	for range 3 {
		now = now.Add(100 * ms)
		if sent := quiet(s, now); len(sent) != 1 || !sent[0].poll || sent[0].desiredMinTx != 50*ms {
			t.Fatalf("sent %+v", sent)
		}
		s.receive(told(Up), now)
	}
	p := told(Up)
	p.final = true
	s.receive(p, now)
	now = now.Add(100 * ms)
	if sent := quiet(s, now); len(sent) != 1 || sent[0].poll {
		t.Fatalf("sent %+v after the F", sent)
	}
}

// What is advertised and how fast packets go in each state (RFC 5880 section 6.8.3), for fast, slow and very slow wishes.
func TestRates(t *testing.T) {
	for _, tt := range []struct {
		state               State
		wish                time.Duration
		peerMinRx           time.Duration
		advertised, between time.Duration
	}{
		{Down, 50 * ms, 0, time.Second, time.Second},
		{Init, 50 * ms, 10 * ms, time.Second, time.Second},
		{Init, 50 * ms, 2 * time.Second, time.Second, 2 * time.Second},
		{Init, 5 * time.Second, 10 * ms, 5 * time.Second, 5 * time.Second},
		{Up, 50 * ms, 10 * ms, 50 * ms, 50 * ms},
		{Up, 50 * ms, 300 * ms, 50 * ms, 300 * ms},
		{Up, 5 * time.Second, 10 * ms, 5 * time.Second, 5 * time.Second},
	} {
		s := in(tt.state, Config{Interval: tt.wish})
		if tt.state != Down {
			p := told(Up)
			if tt.state == Init {
				p = told(Down)
			}
			p.requiredMin = tt.peerMinRx
			s.receive(p, epoch)
		}
		if got := s.packet(); got.desiredMinTx != tt.advertised || got.requiredMin != tt.wish || s.interval != tt.between {
			t.Errorf("%v, wish %s, peer %s: advertises %s and %s, sends every %s; want %s and %s", tt.state, tt.wish, tt.peerMinRx,
				got.desiredMinTx, got.requiredMin, s.interval, tt.advertised, tt.between)
		}
	}
}

// Each interval is less 0 to 25 percent, with multiplier 1 less 10 to 25 percent (RFC 5880 section 6.8.7), and spread.
func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		multiplier  uint8
		least, most time.Duration
	}{{3, 75 * ms, 100 * ms}, {1, 75 * ms, 90 * ms}} {
		s := in(Up, Config{Multiplier: tt.multiplier})
		low, high := time.Hour, time.Duration(0)
		for now := epoch; now.Before(epoch.Add(100 * time.Second)); {
			s.receive(told(Up), now)
			quiet(s, now)
			low, high = min(low, s.next.Sub(now)), max(high, s.next.Sub(now))
			now = s.next
		}
		if low < tt.least || high > tt.most || low > tt.least+ms || high < tt.most-ms {
			t.Errorf("multiplier %d: %s to %s, want nearly %s to %s", tt.multiplier, low, high, tt.least, tt.most)
		}
	}
}

// A shorter interval counts from the last packet, a longer one too (RFC 5880 section 6.8.3).
func TestIntervalChanges(t *testing.T) {
	s := in(Up, Config{})
	p := told(Up)
	p.requiredMin = 10 * time.Second
	s.receive(p, epoch)
	if got := s.next.Sub(epoch); got < 7500*ms || got > 10*time.Second {
		t.Errorf("next in %s", got)
	}
	later := epoch.Add(200 * ms)
	p.requiredMin = 10 * ms
	s.receive(p, later)
	if sent := quiet(s, later); len(sent) != 1 {
		t.Errorf("what is overdue is sent at once, not %+v", sent)
	}
}

// Who must not send (RFC 5880 section 6.8.7).
func TestSilence(t *testing.T) {
	far := epoch.Add(time.Hour)
	t.Run("passive, until the peer was heard", func(t *testing.T) {
		s := machine(Config{Passive: true})
		if sent := quiet(s, far); sent != nil {
			t.Errorf("sent %+v", sent)
		}
		if at, ok := s.deadline(); ok {
			t.Errorf("something is due at %s", at)
		}
		s.receive(told(Down), far)
		if sent := quiet(s, far); len(sent) != 1 || sent[0].state != Init {
			t.Errorf("sent %+v", sent)
		}
	})
	t.Run("passive, once more when the peer is gone", func(t *testing.T) {
		s := in(Up, Config{Passive: true})
		s.waited = true
		s.expire(far)
		if sent := quiet(s, far.Add(time.Hour)); sent != nil || s.state != Down {
			t.Errorf("%v, sent %+v", s.state, sent)
		}
	})
	t.Run("the peer wants no packets", func(t *testing.T) {
		s := in(Up, Config{})
		p := told(Up)
		p.requiredMin, p.final = 0, true
		s.receive(p, epoch)
		if sent := quiet(s, far); sent != nil {
			t.Errorf("sent %+v", sent)
		}
		p.poll = true
		s.receive(p, far)
		if sent := quiet(s, far); len(sent) != 1 || !sent[0].final {
			t.Errorf("a Poll is answered all the same, not %+v", sent)
		}
	})
	t.Run("the peer is in Demand mode", func(t *testing.T) {
		s := in(Up, Config{})
		p := told(Up)
		p.demand = true
		s.receive(p, epoch)
		if sent := quiet(s, far); len(sent) != 1 || !sent[0].poll {
			t.Errorf("the Poll Sequence goes on, not %+v", sent)
		}
		p.final = true
		s.receive(p, far)
		if sent := quiet(s, far.Add(time.Hour)); sent != nil {
			t.Errorf("sent %+v", sent)
		}
	})
}

// Silence of a detection time (RFC 5880 sections 6.8.4, 6.8.1) in every state: what is known of the peer is forgotten.
func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		is, want State
		diag     Diag
		failed   bool
	}{
		{AdminDown, AdminDown, Administrator, false},
		{Down, Down, NoDiag, false},
		{Init, Down, TimeExpired, false},
		{Up, Down, TimeExpired, true},
	} {
		t.Run(tt.is.String(), func(t *testing.T) {
			s := in(tt.is, Config{Interval: 50 * ms})
			if tt.is == Down {
				s.receive(told(AdminDown), epoch)
			}
			const detection = 300 * ms // 3 times what the peer sends at
			before, at := epoch.Add(detection-1), epoch.Add(detection)
			if s.expire(before); s.remoteDiscr == 0 {
				t.Fatal("too early")
			}
			s.expire(at)
			if s.state != tt.want || s.diag != tt.diag || s.failed != tt.failed || s.remoteDiscr != 0 || s.remoteState != Down {
				t.Errorf("%v, %v, failed %v, remote %#x %v", s.state, s.diag, s.failed, s.remoteDiscr, s.remoteState)
			}
			sent := quiet(s, at)
			if tt.failed && (len(sent) != 1 || sent[0].yourDiscr != 0 || sent[0].diag != TimeExpired || sent[0].desiredMinTx != time.Second) {
				t.Errorf("sent %+v", sent)
			}
		})
	}
}

// The peer's Detect Mult, the slower of its wish and ours.
func TestDetectionTime(t *testing.T) {
	for _, tt := range []struct {
		own, peer time.Duration
		mult      uint8
		want      time.Duration
	}{
		{50 * ms, 10 * ms, 3, 150 * ms},
		{10 * ms, 50 * ms, 3, 150 * ms},
		{10 * ms, 10 * ms, 1, 10 * ms},
		{10 * ms, time.Second, 5, 5 * time.Second},
	} {
		s := machine(Config{Interval: tt.own})
		if s.detectionTime() != 0 {
			t.Error("a detection time without a peer")
		}
		p := told(Down)
		p.desiredMinTx, p.detectMult = tt.peer, tt.mult
		s.receive(p, epoch)
		if got := s.detectionTime(); got != tt.want {
			t.Errorf("own %s, peer %s x %d: %s, want %s", tt.own, tt.peer, tt.mult, got, tt.want)
		}
	}
}

// A failure is one until the session is up again, or the peer says that it was on purpose.
func TestFailed(t *testing.T) {
	s := in(Up, Config{})
	s.expire(epoch.Add(300 * ms))
	for _, step := range []struct {
		peer State
		want bool
	}{{Down, true}, {Init, false}, {Down, true}, {AdminDown, false}, {Down, false}} {
		s.receive(told(step.peer), epoch.Add(time.Second))
		if s.failed != step.want {
			t.Errorf("failed %v after %v", s.failed, step.peer)
		}
	}
}

// A loop that was late itself gives the peer as much time again, an interval at most, once.
func TestOwnStallIsNoFailure(t *testing.T) {
	const detection, interval = 300 * ms, 100 * ms
	for _, tt := range []struct{ late, until time.Duration }{
		{tolerance, 0},
		{10 * ms, 20 * ms},
		{5 * time.Second, 5*time.Second + interval},
	} {
		s := in(Up, Config{})
		end := epoch.Add(detection)
		s.expire(end.Add(tt.late))
		if tt.until == 0 {
			if s.state != Down {
				t.Errorf("late by %s, in tolerance: %v", tt.late, s.state)
			}
			continue
		}
		if at, _ := s.deadline(); s.state != Up || s.expiry() != end.Add(tt.until) || at.After(s.expiry()) {
			t.Errorf("late by %s: %v, expires %s after the detection time, want %s", tt.late, s.state, s.expiry().Sub(end), tt.until)
		}
		again := in(Up, Config{})
		again.expire(end.Add(tt.late))
		again.receive(told(Up), end.Add(tt.late))
		if again.expire(end.Add(tt.late + detection - 1)); again.state != Up || again.waited {
			t.Errorf("late by %s, then a packet: %v", tt.late, again.state)
		}
		s.expire(end.Add(tt.until + time.Hour))
		if s.state != Down {
			t.Errorf("late twice: %v", s.state)
		}
	}
}

// A peer that started anew has another discriminator and says Down: the session falls, then comes back by itself.
func TestPeerRestarts(t *testing.T) {
	s := in(Up, Config{})
	p := told(Down)
	p.myDiscr, p.yourDiscr = 0x99, 0
	s.receive(p, epoch)
	if s.state != Down || !s.failed || s.remoteDiscr != 0x99 {
		t.Fatalf("%v, failed %v, remote %#x", s.state, s.failed, s.remoteDiscr)
	}
	s.receive(p, epoch)
	if s.state != Init {
		t.Fatalf("%v", s.state)
	}
}
