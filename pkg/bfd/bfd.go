// Package bfd watches paths to neighbors by Bidirectional Forwarding Detection: RFC 5880 (asynchronous mode), RFC 5881
// (single hop) and RFC 5883 (multihop), IPv4 and IPv6. Packets are small and come in milliseconds; when they stop, the
// neighbor or the path to it is dead.
//
// Codec and session machine are pure: no clock, no I/O. One OS thread of its own, real-time where that is allowed, runs
// all sessions and allocates nothing per packet. It cannot run while the Go runtime stops the world, which takes long on
// a machine whose cores are all taken: then another thread, which takes no part in that, repeats the packets.
//
// Not built: authentication (packets with the A bit are discarded), the Echo function, Demand mode of our own (a peer's
// is obeyed).
package bfd

import (
	"fmt"
	"net/netip"
	"time"
)

// A State is that of a session, RFC 5880 section 4.1; the zero value is AdminDown, as in packets.
type State uint8

// States.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

func (s State) String() string {
	switch s {
	case AdminDown:
		return "admin-down"
	case Down:
		return "down"
	case Init:
		return "init"
	case Up:
		return "up"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// A Diag is why a session last changed its state, RFC 5880 section 4.1.
type Diag uint8

// Diagnostics that this package sends; others come from peers.
const (
	NoDiag        Diag = 0
	TimeExpired   Diag = 1 // control detection time expired
	NeighborDown  Diag = 3 // neighbor signaled session down
	Administrator Diag = 7 // administratively down
)

func (d Diag) String() string {
	names := [...]string{
		"no diagnostic", "control detection time expired", "echo function failed", "neighbor signaled session down",
		"forwarding plane reset", "path down", "concatenated path down", "administratively down",
		"reverse concatenated path down",
	}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}

// A Config is one session.
type Config struct {
	Local     netip.Addr // source of what is sent, and all that is listened on; zero: what the kernel chooses, all addresses
	Peer      netip.Addr // may carry a zone
	Interface string     // the session's packets leave and arrive by it; empty: by any, or by Peer's zone
	Multihop  bool       // RFC 5883, UDP 4784; else RFC 5881, UDP 3784
	// Either is for direct peers that choose the port themselves: FRR takes multihop BFD for neighbors with
	// ttl-security. Packets go to both ports until the peer answers, then to the one on which it was heard first.
	Either bool
	// MinTTL is the least TTL or hop limit of packets that count, for Multihop: 256 - hops; zero: any. Direct peers'
	// packets must have 255 (RFC 5881 section 5).
	MinTTL     uint8
	Interval   time.Duration // wanted between packets, both ways, 1 ms to 1 minute; zero: 50 ms. Slower peers are obeyed.
	Multiplier uint8         // so many packets missing in a row are a failure; zero: 3
	Passive    bool          // sends nothing until the peer was heard (RFC 5880 section 6.1)
	// OnChange is called at every change of Status but those of its counters, from the thread that runs all sessions: it
	// must be quick and must not block. May be nil.
	OnChange func(Status)
}

// A Status is one session for programs, people and metrics.
type Status struct {
	Peer             netip.Addr
	Interface        string
	Multihop         bool // the session's packets go to UDP 4784
	State            State
	RemoteState      State // as the peer last said; Down while it is not heard
	Diag, RemoteDiag Diag
	Since            time.Time // of State, with the monotonic clock
	// Failed: the session was up, then the peer fell silent or said Down; not after the peer's AdminDown (RFC 5882
	// section 3.2). False again once the session is up.
	Failed        bool
	Interval      time.Duration // between packets that are sent now, before jitter
	DetectionTime time.Duration // silence of the peer that is a failure; zero while it is not heard
	Reason        string        // why it is not up, or why it last failed, for people
	RTScheduled   bool          // the thread has SCHED_FIFO

	Sent, Received      uint64        // packets; received: those that count
	StoodIn             uint64        // packets, beside Sent, that another thread sent because the first one was late
	Gap                 time.Duration // longest time between two received packets while up, as the kernel saw it
	LocalDiscriminator  uint32
	RemoteDiscriminator uint32
}
