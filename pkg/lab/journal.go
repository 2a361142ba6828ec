package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
)

// agentJournal is where an agent of a lab writes its journal, inside its node.
const agentJournal = "/var/lib/anyedge/journal.jsonl"

// entry is what experiments read of a line of the agent's journal.
type entry struct {
	Event      string         `json:"event"`
	MonoNs     int64          `json:"mono_ns"`
	Service    string         `json:"service"`
	State      string         `json:"state"`
	Action     string         `json:"action"`
	Reason     string         `json:"reason"`
	Neighbor   string         `json:"neighbor"`
	Prefixes   []netip.Prefix `json:"prefixes"`
	NoticedNs  int64          `json:"noticed_mono_ns"`
	Generation uint64         `json:"generation"`
	WrittenNs  int64          `json:"written_mono_ns"`
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

// covers tells whether the entry is about a prefix that holds addr.
func (e entry) covers(addr netip.Addr) bool {
	return slices.ContainsFunc(e.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// withdrawal finds the first decision after a moment to withdraw what covers addr, or to de-prefer it, and when its UPDATE
// was written.
// Zero: there is none, as when the agent itself is gone.
func withdrawal(entries []entry, addr netip.Addr, after int64) (noticed, written int64) {
	for _, e := range entries {
		if e.Event != "decision" || e.Action != "withdraw" && e.Action != "deprefer" || e.MonoNs < after || !e.covers(addr) {
			continue
		}
		// It stands after the first decision of its generation, but there may be more.
		for _, w := range entries {
			if w.Event == "written" && w.Generation >= e.Generation && w.WrittenNs >= after {
				return e.NoticedNs, w.WrittenNs
			}
		}
		return e.NoticedNs, 0
	}
	return 0, 0
}

// announcing tells whether the agent's last word since it started is that everything it decides on is up.
func announcing(entries []entry) bool {
	last := map[string]string{}
	for _, e := range entries {
		switch e.Event {
		case "start":
			clear(last)
		case "decision":
			last[e.Service] = e.State
		}
	}
	for _, state := range last {
		if state != "up" {
			return false
		}
	}
	return len(last) > 0
}
