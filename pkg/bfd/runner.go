package bfd

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A runner is one session with its sockets, owned by the loop's thread but for what is atomic.
type runner struct {
	*session
	address  netip.Addr // of the peer, without zone
	ways     []bool     // ports on which it may run: multihop or not
	senders  [2]sender  // towards the single hop and the multihop port
	chosen   int        // sender in use while the peer is heard
	rejected error      // why the last packet of the peer did not count; kept while the peer is not heard
	wire     [packetSize]byte

	shown          view
	fall           string                 // why it last went from up to down
	status         atomic.Pointer[Status] // without the counters
	sent, received atomic.Uint64
	slot           atomic.Pointer[slot]
	gap            atomic.Int64
}

// A view is what makes a new Status when it changes.
type view struct {
	state, remoteState State
	diag, remoteDiag   Diag
	failed             bool
	interval           time.Duration
	detectionTime      time.Duration
	remoteDiscr        uint32
	chosen             int
	problem            error
	since              time.Time
	realtime           bool
}

func newRunner(s *session) *runner {
	r := &runner{session: s, address: s.config.Peer.WithZone(""), ways: s.config.hops(), senders: [2]sender{{fd: -1, useless: true}, {fd: -1, useless: true}}}
	r.chosen = index(s.config.Multihop)
	return r
}

func index(multihop bool) int {
	if multihop {
		return 1
	}
	return 0
}

// accept takes a packet that was meant for this session.
func (r *runner) accept(p packet, d *datagram, multihop bool, at time.Time) error {
	if err := r.check(p, d); err != nil {
		if r.remoteDiscr == 0 {
			r.rejected = err
		}
		return err
	}
	if r.remoteDiscr == 0 {
		r.chosen = index(multihop)
	} else if r.state == Up {
		r.gap.Store(max(r.gap.Load(), int64(at.Sub(r.heard))))
	}
	r.rejected = nil
	r.received.Add(1)
	r.receive(p, at)
	return nil
}

func (r *runner) check(p packet, d *datagram) error {
	if err := r.config.ttl(d.ttl); err != nil {
		return err
	}
	if p.authenticated {
		return errAuthentication
	}
	return nil
}

// open makes the sockets that are missing or useless, at most one of each in a second: addresses and interfaces come
// and go. While the session is not up, those that seem to work are made anew, too: a connected socket holds on to its
// route although a rule or another table has a better one (IPv6, seen when a local address was just being added).
func (r *runner) open(now time.Time) {
	for _, multihop := range r.ways {
		if s := &r.senders[index(multihop)]; !now.Before(r.renewal(s)) {
			s.open(r.config, multihop, now, r.random.IntN)
		}
	}
}

const (
	renewUseless = slow
	renewOther   = 3 * slow
)

// renewal is when a socket is to be made anew, if nothing changes until then.
func (r *runner) renewal(s *sender) time.Time {
	switch {
	case s.useless:
		return s.opened.Add(renewUseless)
	case r.state != Up:
		return s.opened.Add(renewOther)
	default:
		return s.opened.Add(1 << 62)
	}
}

// deadline is the session's, or earlier, when a socket is missing.
func (r *runner) deadline() (at time.Time, ok bool) {
	at, ok = r.session.deadline()
	for _, multihop := range r.ways {
		if s := &r.senders[index(multihop)]; s.useless && (!ok || r.renewal(s).Before(at)) {
			at, ok = r.renewal(s), true
		}
	}
	return at, ok
}

// send sends all that is due: to both ports where it is not known on which the peer is.
func (r *runner) send(now time.Time) {
	for {
		p, due := r.transmit(now)
		if !due {
			return
		}
		wire := p.append(r.wire[:0])
		for _, multihop := range r.ways {
			i := index(multihop)
			if (i == r.chosen || r.remoteDiscr == 0) && r.senders[i].send(wire) {
				r.sent.Add(1)
			}
		}
	}
}

// runsOn tells whether the session may run on that port.
func (r *runner) runsOn(multihop bool) bool { return slices.Contains(r.ways, multihop) }

// arrivedBy tells whether packets without our discriminator may be the session's by their interface.
func (r *runner) arrivedBy(ifindex int) bool {
	return r.config.Interface == "" || ifindex == r.senders[0].ifindex || ifindex == r.senders[1].ifindex
}

func (r *runner) close() {
	for i := range r.senders {
		r.senders[i].close()
	}
}

// view allocates nothing: it is looked at after every packet.
func (r *runner) view() view {
	return view{
		state: r.state, remoteState: r.remoteState, diag: r.diag, remoteDiag: r.remoteDiag, failed: r.failed,
		interval: r.interval, detectionTime: r.detectionTime(), remoteDiscr: r.remoteDiscr, chosen: r.chosen, problem: r.problem(),
		since: r.since,
	}
}

// problem is what keeps the peer from being heard, as far as this host can tell.
func (r *runner) problem() error {
	if r.remoteDiscr != 0 {
		return nil
	}
	if r.rejected != nil {
		return r.rejected
	}
	return r.senders[r.chosen].err
}

// publish makes a new Status when there is something new, and returns it; else nil.
func (r *runner) publish(realtime bool) *Status {
	v := r.view()
	v.realtime = realtime
	if v == r.shown {
		return nil
	}
	reason := r.explain(v)
	r.shown = v
	s := &Status{
		Peer: r.config.Peer, Interface: r.config.Interface, Multihop: r.chosen == 1,
		State: v.state, RemoteState: v.remoteState, Diag: v.diag, RemoteDiag: v.remoteDiag, Since: v.since, Failed: v.failed,
		Interval: v.interval, DetectionTime: v.detectionTime, Reason: reason, RTScheduled: v.realtime,
		LocalDiscriminator: r.localDiscr, RemoteDiscriminator: v.remoteDiscr,
	}
	r.status.Store(s)
	return s
}

// explain says why the session is not up, or why it last fell.
func (r *runner) explain(v view) string {
	if r.shown.state == Up && v.state == Down {
		r.fall = r.fell(v)
	}
	switch {
	case v.state == AdminDown:
		return "taken down by this host"
	case v.state == Up, v.failed:
		return r.fall
	case v.state == Down && v.remoteState == AdminDown:
		return "taken down by the peer" + because(v.remoteDiag)
	case v.problem != nil:
		return trouble(v.problem, port(r.chosen == 1))
	case v.remoteDiscr == 0:
		return "the peer was not heard yet"
	default:
		return "coming up"
	}
}

func (r *runner) fell(v view) string {
	switch {
	case v.diag == TimeExpired:
		return fmt.Sprintf("nothing came from the peer for %s", r.shown.detectionTime)
	case v.remoteState == AdminDown:
		return "taken down by the peer" + because(v.remoteDiag)
	default:
		return "the peer says " + v.remoteState.String() + because(v.remoteDiag)
	}
}

func because(d Diag) string {
	if d == NoDiag {
		return ""
	}
	return ": " + d.String()
}

func trouble(err error, port uint16) string {
	switch err {
	case unix.ECONNREFUSED:
		return fmt.Sprintf("the peer's UDP port %d is closed: enable BFD for this host there", port)
	case errTTL:
		return "the peer's packets come with too low a TTL: it is further away than configured, or BIRD, which sends multihop ones with 64"
	case errAuthentication:
		return "the peer's packets are authenticated, which is not supported: disable it there"
	default:
		return err.Error()
	}
}
