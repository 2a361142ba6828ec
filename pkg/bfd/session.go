package bfd

import (
	"math/rand/v2"
	"time"
)

// slow is the least interval while a session is not up (RFC 5880 section 6.8.3).
const slow = time.Second

// A session is the machine of RFC 5880 section 6.8, with its names. It knows no clock and no socket: the loop gives it
// packets and the time, asks it until when there is nothing to do, what to send, and whether the peer was silent for too
// long. All times must come from one monotonic clock.
type session struct {
	config Config
	random *rand.Rand // for jitter

	// Variables of RFC 5880 section 6.8.1.
	state, remoteState State
	localDiscr         uint32
	remoteDiscr        uint32 // zero: the peer is not heard
	diag               Diag
	desiredMinTx       time.Duration // as told to the peer: Interval while up, else slow
	remoteMinRx        time.Duration
	remoteDemand       bool
	remoteMult         uint8
	remoteMinTx        time.Duration
	remoteDiag         Diag
	polling            bool // a Poll Sequence is under way: the P bit is sent until an F comes

	failed bool      // up, then down, but not by the peer's AdminDown
	since  time.Time // of state
	heard  time.Time // last packet that counts; meaningful while remoteDiscr is not zero
	waited bool      // the loop was late once, and the peer got its grace (see expire)

	interval time.Duration // of transmission, as next was computed with
	lastSent time.Time     // but for replies to Polls
	next     time.Time     // periodic packet
	urgent   bool          // what the peer must know at once has changed (RFC 5880 section 6.8.7)
	final    bool          // a Poll waits for its Final
}

// newSession returns a session that is to be started.
func newSession(c Config, discriminator uint32, random *rand.Rand) *session {
	s := &session{config: c, random: random, localDiscr: discriminator, state: Down}
	s.forget()
	s.desiredMinTx = max(slow, c.Interval)
	s.interval = s.desiredMinTx
	return s
}

// start makes the first packet due within a quarter of a second: many sessions that start together do not send together.
func (s *session) start(now time.Time) {
	s.since = now
	s.next = now.Add(time.Duration(s.random.Int64N(int64(slow / 4))))
}

// forget sets what was known of the peer back to the start.
func (s *session) forget() {
	s.remoteDiscr, s.remoteState, s.remoteMinRx = 0, Down, 1*time.Microsecond
	s.remoteDemand, s.remoteMinTx, s.remoteMult = false, 0, 0
	s.polling = false
}

// receive takes a packet that arrived at a time: RFC 5880 section 6.8.6 from "bfd.RemoteDiscr" on.
func (s *session) receive(p packet, at time.Time) {
	s.remoteDiscr = p.myDiscr
	s.remoteState, s.remoteDiag = p.state, p.diag
	s.remoteDemand = p.demand
	s.remoteMinRx, s.remoteMinTx, s.remoteMult = p.requiredMin, p.desiredMinTx, p.detectMult
	s.waited = false
	if at.After(s.heard) {
		s.heard = at
	}
	if p.final {
		s.polling = false
	}
	if s.state == AdminDown {
		return
	}
	s.follow(p.state, at)
	if p.poll {
		s.final = true
	}
	s.retime()
}

// follow is the state machine of RFC 5880 section 6.2.
func (s *session) follow(remote State, at time.Time) {
	switch {
	case remote == AdminDown:
		if s.state != Down {
			s.become(Down, NeighborDown, at)
		}
		s.failed = false // RFC 5882 section 3.2: not a failure
	case s.state == Down && remote == Down:
		s.become(Init, s.diag, at)
	case s.state == Down && remote == Init, s.state == Init && remote != Down:
		s.become(Up, NoDiag, at)
	case s.state == Up && remote == Down:
		s.become(Down, NeighborDown, at)
	}
}

// become changes the state. While up, packets are sent as fast as wanted, which the peer learns by a Poll Sequence; else
// slowly (RFC 5880 section 6.8.3). That no Poll announces the slow rate is deliberate: what it would guard, the detection
// time of a session that is up, is not there.
func (s *session) become(state State, diag Diag, at time.Time) {
	s.failed = state != Up && (s.failed || s.state == Up && state == Down)
	s.state, s.diag, s.since = state, diag, at
	s.urgent = true
	s.polling = state == Up
	s.desiredMinTx = max(slow, s.config.Interval)
	if state == Up {
		s.desiredMinTx = s.config.Interval
	}
}

// retime moves the next packet when the interval has changed: a shorter one counts from the last packet sent
// (RFC 5880 section 6.8.3).
func (s *session) retime() {
	interval := max(s.desiredMinTx, s.remoteMinRx)
	if interval == s.interval {
		return
	}
	s.interval = interval
	s.next = s.lastSent.Add(s.jittered())
}

// jittered is the transmit interval less 0 to 25 percent, and less 10 to 25 percent where one missing packet is a
// failure (RFC 5880 section 6.8.7).
func (s *session) jittered() time.Duration {
	least, most := 0.0, 0.25
	if s.config.Multiplier == 1 {
		least = 0.10
	}
	share := least + (most-least)*s.random.Float64()
	return s.interval - time.Duration(share*float64(s.interval))
}

// periodic tells whether packets are due at all (RFC 5880 section 6.8.7).
func (s *session) periodic() bool {
	demanded := s.remoteDemand && s.state == Up && s.remoteState == Up && !s.polling
	return s.remoteMinRx != 0 && !demanded && s.mayTalk()
}

// mayTalk is false for a passive session that has not heard its peer (RFC 5880 section 6.1).
func (s *session) mayTalk() bool { return !s.config.Passive || s.remoteDiscr != 0 }

// transmit returns the packet that is due now, if there is one. Call it until there is none.
func (s *session) transmit(now time.Time) (p packet, due bool) {
	periodic := s.periodic() && !now.Before(s.next)
	urgent := s.urgent && s.mayTalk()
	if !periodic && !urgent && !s.final {
		return packet{}, false
	}
	p = s.packet()
	p.final, p.poll = s.final, s.polling && !s.final
	if periodic || urgent {
		s.lastSent, s.next = now, now.Add(s.jittered())
	}
	s.urgent, s.final = false, false
	return p, true
}

// wasSent tells that somebody sent a periodic packet in the session's name.
func (s *session) wasSent(at time.Time) {
	if at.After(s.lastSent) {
		s.lastSent, s.next = at, at.Add(s.jittered())
	}
}

// packet is what the peer is to know, without P and F.
func (s *session) packet() packet {
	return packet{
		diag: s.diag, state: s.state, detectMult: s.config.Multiplier, myDiscr: s.localDiscr, yourDiscr: s.remoteDiscr,
		desiredMinTx: s.desiredMinTx, requiredMin: s.config.Interval,
	}
}

// detectionTime is that of RFC 5880 section 6.8.4; zero while the peer is not heard.
func (s *session) detectionTime() time.Duration {
	if s.remoteDiscr == 0 {
		return 0
	}
	return time.Duration(s.remoteMult) * max(s.config.Interval, s.remoteMinTx)
}

// deadline returns when there is something to do unless a packet comes; false: never.
func (s *session) deadline() (at time.Time, ok bool) {
	if s.urgent && s.mayTalk() || s.final {
		return s.since, true
	}
	if s.periodic() {
		at, ok = s.next, true
	}
	if s.remoteDiscr != 0 {
		if expiry := s.expiry(); !ok || expiry.Before(at) {
			at, ok = expiry, true
		}
	}
	return at, ok
}

// expiry is when the peer will have been silent for too long.
func (s *session) expiry() time.Time { return s.heard.Add(s.detectionTime()) }

// tolerance is how late the loop may notice the end of a detection time and still trust it.
const tolerance = time.Millisecond

// expire looks whether the peer was silent for too long, given that everything that arrived until now was received.
// A loop that comes later than tolerance was not running, and perhaps nor was the machine that should have received:
// the peer gets as much time again, an interval at most, and only once.
func (s *session) expire(now time.Time) {
	if s.remoteDiscr == 0 || now.Before(s.expiry()) {
		return
	}
	if late := now.Sub(s.expiry()); late > tolerance && !s.waited {
		s.waited = true
		s.heard = s.heard.Add(late + min(late, max(s.config.Interval, s.remoteMinTx)))
		return
	}
	if s.state == Init || s.state == Up {
		s.become(Down, TimeExpired, now)
	}
	s.forget()
	s.retime()
}

// shut takes the session down on purpose (RFC 5880 section 6.8.16). The pace of its packets stays what it was: the peer
// is to hear of it before it has to wonder.
func (s *session) shut(now time.Time) {
	if s.state != AdminDown {
		s.become(AdminDown, Administrator, now)
		s.failed = false
	}
	s.urgent = true
}

// leaving tells whether the peer does not know yet that the session was shut.
func (s *session) leaving() bool {
	return s.remoteDiscr != 0 && s.remoteState != Down && s.remoteState != AdminDown
}
