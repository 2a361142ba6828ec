package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
)

// agentJournal is where an agent of a lab writes its journal, inside its node.
const agentJournal = "/var/lib/anyedge/journal.jsonl"

// entry is what experiments read of a line of the agent's journal. Times are CLOCK_MONOTONIC in nanoseconds; 0: it did not
// come to that.
type entry struct {
	Event       string         `json:"event"`
	MonoNs      int64          `json:"mono_ns"`
	Service     string         `json:"service"`
	State       string         `json:"state"`
	Action      string         `json:"action"`
	Reason      string         `json:"reason"`
	Neighbor    string         `json:"neighbor"`
	Protocol    string         `json:"protocol"`
	VIPs        []netip.Prefix `json:"vips"`     // that it is about
	Prefixes    []netip.Prefix `json:"prefixes"` // whose announcement it changed
	Targets     []bridgeTarget `json:"targets"`
	NoticedNs   int64          `json:"noticed_mono_ns"`
	ConfirmedNs int64          `json:"confirmed_mono_ns"` // the verdict was taken
	BridgedNs   int64          `json:"bridged_mono_ns"`   // packets take the bridge
	Generation  uint64         `json:"generation"`
	WrittenNs   int64          `json:"written_mono_ns"`
}

// A bridgeTarget is a host to which packets are bridged.
type bridgeTarget struct {
	Peer string `json:"peer"`
}

// journal reads an agent's journal. A line that is still being written is left out; no file yet is an empty journal.
func (l *Lab) journal(agent string) ([]entry, error) {
	f, err := os.Open(l.Path(agent, agentJournal))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var entries []entry
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			entries = append(entries, e)
		}
	}
	return entries, lines.Err()
}

// covers tells whether the entry is about addr.
func (e entry) covers(addr netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	return slices.ContainsFunc(e.VIPs, contains) || slices.ContainsFunc(e.Prefixes, contains)
}

// sick tells whether a decision is about an address that is not served by its own host, or will not be for long.
func (e entry) sick() bool {
	return !slices.Contains([]string{"starting", "settling", "up", "degraded", "isolated"}, e.State)
}

// wentAway tells whether an agent withdrew or de-preferred a sick address after a moment.
func wentAway(entries []entry, after int64) bool {
	return slices.ContainsFunc(entries, func(e entry) bool {
		return e.Event == "decision" && e.MonoNs > after && slices.Contains([]string{"withdrawn", "depreferred", "held"}, e.State)
	})
}

// lostPath tells whether an agent that lives found a path to a router dead by BFD after a moment.
func lostPath(entries []entry, after int64) (lost bool) {
	up := map[string]bool{} // by neighbor
	for _, e := range entries {
		switch {
		case e.Event == "start":
			clear(up)
			lost = false
		case e.Event == "session" && e.Protocol == "bfd":
			lost = lost || up[e.Neighbor] && e.State == "down" && e.MonoNs > after
			up[e.Neighbor] = e.State == "up"
		}
	}
	return lost
}

// A reaction is what an agent did about a fault, CLOCK_MONOTONIC in nanoseconds; 0: it did not.
type reaction struct {
	noticed, confirmed, bridged int64
	written                     int64 // the first UPDATE: de-preferred or withdrawn
	withdrawn                   int64 // the UPDATE that withdrew, where another one came before it
	unbridged                   int64 // packets take the bridge no more
}

// react finds what an agent did in (from, until] about what covers addr. It is empty when the agent itself is gone.
func react(entries []entry, addr netip.Addr, from, until int64) (r reaction) {
	for _, e := range entries {
		if e.MonoNs <= from || e.MonoNs > until || !e.covers(addr) {
			continue
		}
		if e.Event == "bridge" && e.Action == "off" {
			r.unbridged = e.MonoNs
		}
		if e.Event != "decision" || !e.sick() {
			continue
		}
		if r.noticed == 0 {
			r.noticed, r.confirmed = e.NoticedNs, e.ConfirmedNs
		}
		if r.bridged == 0 {
			r.bridged = e.BridgedNs
		}
		if e.Action != "deprefer" && e.Action != "withdraw" {
			continue
		}
		switch at := writtenAt(entries, e); {
		case r.written == 0:
			r.written = at
		case e.Action == "withdraw" && r.withdrawn == 0 && at != r.written:
			r.withdrawn = at
		}
	}
	return r
}

// writtenAt tells when the first UPDATE of a decision was written; 0: not yet. It stands after the first decision of its
// generation, but there may be more of them.
func writtenAt(entries []entry, decision entry) int64 {
	for _, w := range entries {
		if w.Event == "written" && w.Generation >= decision.Generation && w.WrittenNs >= decision.NoticedNs {
			return w.WrittenNs
		}
	}
	return 0
}

// announcement finds the first decision after a moment to announce what covers addr, and when its UPDATE was written.
func announcement(entries []entry, addr netip.Addr, after int64) (decided, written int64) {
	for _, e := range entries {
		if e.Event == "decision" && e.MonoNs > after && e.Action == "announce" && !e.sick() && e.covers(addr) {
			return e.MonoNs, writtenAt(entries, e)
		}
	}
	return 0, 0
}

// updates counts the UPDATEs that were written after a moment: one for each change and neighbor.
func updates(entries []entry, after int64) (n int) {
	for _, e := range entries {
		if e.Event == "written" && e.WrittenNs > after {
			n++
		}
	}
	return n
}

// resting tells whether the agent is done with what covers addr: neither bridging nor on its way to a withdrawal.
func resting(entries []entry, addr netip.Addr) bool {
	state := ""
	for _, e := range entries {
		switch {
		case e.Event == "start":
			state = ""
		case e.Event == "decision" && e.covers(addr):
			state = e.State
		}
	}
	return state != "bridged" && state != "depreferred"
}

// notUp tells people why not every address that an agent decides on is up, by its last words since it started; "": all are.
func notUp(entries []entry) (why string) {
	last := map[netip.Prefix]entry{}
	for _, e := range entries {
		switch e.Event {
		case "start":
			clear(last)
		case "decision":
			for _, vip := range e.VIPs {
				last[vip] = e
			}
		}
	}
	for _, vip := range slices.SortedFunc(maps.Keys(last), netip.Prefix.Compare) {
		if e := last[vip]; e.State != "up" {
			return fmt.Sprintf("%s of service %s is %s: %s", vip, e.Service, e.State, e.Reason)
		}
	}
	if len(last) == 0 {
		return "its agent has not decided anything"
	}
	return ""
}

// journals reads the journals of agents.
func (l *Lab) journals(agents []string) (map[string][]entry, error) {
	all := map[string][]entry{}
	for _, agent := range agents {
		entries, err := l.journal(agent)
		if err != nil {
			return nil, err
		}
		all[agent] = entries
	}
	return all, nil
}

// agents returns the nodes of all agents, in the order of their sites.
func (p parts) agents() (agents []string) {
	for _, site := range p.sites {
		if agent, err := p.player("agent", site); err == nil {
			agents = append(agents, agent)
		}
	}
	return agents
}
