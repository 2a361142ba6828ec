package announce

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// A record is one event for the journal, as it happened; line makes of it what is written.
type record interface {
	line(h header, c clock) any
	at() (event string, t time.Time)
}

// header begins every line.
type header struct {
	Time   string `json:"time"` // RFC 3339, UTC
	MonoNs int64  `json:"mono_ns"`
	Site   string `json:"site"`
	Event  string `json:"event"`
}

type decisionLine struct {
	header
	Service    string         `json:"service"`
	State      string         `json:"state"`
	Action     string         `json:"action"`
	Reason     string         `json:"reason"`
	VIPs       []netip.Prefix `json:"vips"`
	Prefixes   []netip.Prefix `json:"prefixes"`
	Targets    []Target       `json:"targets"`
	NoticedNs  int64          `json:"noticed_mono_ns"`
	ConfirmNs  int64          `json:"confirmed_mono_ns"`
	BridgedNs  int64          `json:"bridged_mono_ns"`
	Generation uint64         `json:"generation"`
}

type bridgeLine struct {
	header
	Service string         `json:"service"`
	Action  string         `json:"action"` // on, off, retarget
	Reason  string         `json:"reason"`
	VIPs    []netip.Prefix `json:"vips"`
	Targets []Target       `json:"targets"`
}

type writtenLine struct {
	header
	Generation uint64     `json:"generation"`
	Neighbor   netip.Addr `json:"neighbor"`
	WrittenNs  int64      `json:"written_mono_ns"`
}

type sessionLine struct {
	header
	Protocol string     `json:"protocol"` // bgp, bfd
	Neighbor netip.Addr `json:"neighbor"`
	State    string     `json:"state"`
	Reason   string     `json:"reason"`
}

type startLine struct {
	header
	Version string `json:"version"`
}

func (o outcome) at() (string, time.Time) { return "decision", o.time }

func (o outcome) line(h header, c clock) any {
	return decisionLine{
		header: h, Service: o.service, State: o.state.String(), Action: o.action.String(), Reason: o.reason,
		VIPs: o.addresses, Prefixes: o.prefixes, Targets: list(o.targets),
		NoticedNs: c.mono(o.cause.Noticed), ConfirmNs: c.mono(o.cause.Confirmed), BridgedNs: c.mono(o.bridged),
		Generation: o.generation,
	}
}

func (b bridgeChange) at() (string, time.Time) { return "bridge", b.time }

func (b bridgeChange) line(h header, _ clock) any {
	return bridgeLine{h, b.service, b.action, b.reason, b.vips, list(b.targets)}
}

// list is an empty list rather than null in a line.
func list(targets []Target) []Target { return append([]Target{}, targets...) }

type written struct{ bgp.Report }

func (w written) at() (string, time.Time) { return "written", w.Written }

func (w written) line(h header, c clock) any {
	return writtenLine{h, w.Generation, w.Neighbor, c.mono(w.Written)}
}

// A SessionChange is what became of a session with a neighbor.
type SessionChange struct {
	Time     time.Time
	Protocol string // bgp, bfd
	Neighbor netip.Addr
	State    string
	Reason   string
}

func (s SessionChange) at() (string, time.Time) { return "session", s.Time }

func (s SessionChange) line(h header, _ clock) any {
	return sessionLine{h, s.Protocol, s.Neighbor, s.State, s.Reason}
}

type started struct {
	time    time.Time
	version string
}

func (s started) at() (string, time.Time) { return "start", s.time }

func (s started) line(h header, _ clock) any { return startLine{h, s.version} }

type stopped struct{ time time.Time }

func (s stopped) at() (string, time.Time) { return "stop", s.time }

func (s stopped) line(h header, _ clock) any { return h }

// clock is one moment on both clocks, to tell other moments of this process as CLOCK_MONOTONIC, which all processes of a
// machine share.
type clock struct {
	now time.Time
	ns  int64
}

func readClock() clock {
	var ts unix.Timespec
	// It cannot fail: the clock exists on every Linux.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return clock{now: time.Now(), ns: ts.Nano()}
}

// mono tells t as CLOCK_MONOTONIC in nanoseconds; the zero time is 0.
func (c clock) mono(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return c.ns - int64(c.now.Sub(t))
}
