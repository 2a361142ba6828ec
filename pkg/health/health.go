// Package health tells, for every service, whether it works now, and why: active checks on a schedule, and kernel
// events that beat any schedule. It decides nothing about routes.
package health

import (
	"context"
	"net/netip"
	"regexp"
	"time"
)

// State is the health of a check or of a service. The zero value is Unknown: not yet told, never an error.
type State int

// The states of a check and of a service.
const (
	Unknown State = iota
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "invalid"
	}
}

// A Checker makes one attempt. It returns nil when the target works, else an error that tells a person what was wrong.
// It obeys ctx, whose deadline is the check's timeout, and may be called again at once; never twice at the same time.
type Checker interface {
	Check(ctx context.Context) error
}

// TCP connects to Target and closes at once; with Expect, once the reply to Send matches.
type TCP struct {
	Local
	Target netip.AddrPort
	Send   []byte         // sent after connecting when Expect is set; may be empty
	Expect *regexp.Regexp // nil: to connect is enough. Only the first 64 KiB of the reply are looked at
}

// UDP sends one datagram to Target; a reply that matches passes.
type UDP struct {
	Local
	Target netip.AddrPort
	Send   []byte
	Expect *regexp.Regexp // nil: any reply. Only the first 4 KiB are looked at
}

// DNS asks Target over UDP, and over TCP what is truncated; NOERROR with at least one answer passes. The attempts of a Monitor
// share a cookie (RFC 7873), so that a server's rate limit does not count them with those who forge their source.
type DNS struct {
	Local
	Target netip.AddrPort
	Name   string // fully qualified
	Type   uint16 // RR type, RFC 1035 section 3.2.2
}

// Listener watches the kernel's table of bound sockets. It is up while a socket is bound to Port (TCP: listening, UDP:
// unconnected) on Address or on the wildcard; the kernel's socket-destroy event tells at once that the last one is gone.
type Listener struct {
	Network   string     // "tcp" or "udp"
	Address   netip.Addr // zero: any
	Port      uint16
	Namespace Namespace // zero: that of this process
}

// Namespace names a network namespace; at most one field is set. One that is not there yet, or is replaced by another, is
// entered when it is there. To enter needs CAP_SYS_ADMIN, and to find that of another user's process CAP_SYS_PTRACE.
type Namespace struct {
	Path    string // such as /run/netns/dns
	PID     int    // that of a process
	PIDFile string // that of the process whose number is in this file, which is read at every look
}

// Process watches a program: up while it lives. Exactly one field is set. Its end is an event, like that of a socket, and
// no state of the program is too bad to be told: one that dumps core is down from the beginning of that, and one that has a
// gigabyte of memory to give back before its sockets are closed is down before it begins, where the kernel tells of deaths
// (see Monitor.Run), else at the next look.
type Process struct {
	PIDFile string // the process whose number is in this file, which is read at every look
	Cgroup  string // a directory of cgroup v2: up while a process is in it or below
	Unit    string // a systemd unit, such as edgedns.service: up while a process is in its cgroup
}

// A Check is one Checker on a schedule, or one watch of a Listener or a Process. Exactly one of the three is set.
//
// An attempt that fails while the state is Unknown makes it Down at once: what is found broken at the start is not
// announced. What the kernel says of a Listener or a Process is a fact, not a sample: Rise and Fall do not count for it.
type Check struct {
	Name         string
	Checker      Checker
	Listener     *Listener
	Process      *Process
	Interval     time.Duration // between attempts while the state is settled; zero: 1 s
	Timeout      time.Duration // of one attempt; zero: 500 ms
	FastInterval time.Duration // between attempts while the state is changing; zero: Interval
	Rise, Fall   int           // consecutive attempts that change the state; zero: 1

	// Remote marks what the service depends on and other sites do as well: its failure may degrade the service, never
	// make it Down, for then all sites would withdraw together. Not for a Listener or a Process.
	Remote bool
}

// A Service is up when as many of its checks are up as it requires, and down when so many are down that this cannot be.
// Until its checks have told either, it stays what it was: unknown after the start, down after a failure. A service
// without checks stays unknown. Remote checks do not count.
type Service struct {
	Name    string
	Checks  []Check
	Require int // how many checks must be up, of those that are not Remote; zero: all
}

// Status is what is known of one service now.
type Status struct {
	Service string
	State   State
	Reason  string    // for people: which check, and what it saw
	Since   time.Time // of State
	Noticed time.Time // when the event or the attempt that made State was seen, before anything was confirmed
	Rising  bool      // down, but as many checks pass again as must be up, only not often enough yet
	Checks  []CheckStatus

	Degraded       bool   // a remote check is down: better served elsewhere, if elsewhere is better off
	DegradedReason string // which remote check, and what it saw; empty when not degraded
}

// CheckStatus is what is known of one check now.
type CheckStatus struct {
	Name   string
	State  State
	Reason string
	Since  time.Time
	Remote bool // it tells only whether the service is degraded
	// Changing tells that attempts speak against State, only not often enough yet, or that it is not told yet.
	Changing bool

	Passed time.Time     // when an attempt passed last; zero: never, or it is no attempts that tell
	Took   time.Duration // by that attempt
}
