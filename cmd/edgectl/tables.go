package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/internal/table"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

// tables shows a status to people: a table for each kind of thing, what needs a hand at the end.
func tables(w io.Writer, s siteapi.Status, now time.Time) error {
	p := page{now: now}
	fmt.Fprintf(&p.text, "site %s, edgeagent %s%s\n", s.Site, s.Version, mode(s.Bridge))
	p.services(s.Services)
	p.vips(s.Services)
	p.bridged(s.Services)
	p.guarded(s.Services)
	p.checks(s.Services)
	p.neighbors(s.Neighbors)
	p.peers(s.Peers)
	p.cluster(s.Cluster)
	p.problems(s)
	_, err := io.WriteString(w, p.text.String())
	return err
}

func mode(b *siteapi.Bridge) string {
	if b == nil {
		return ""
	}
	return ", bridge " + b.Mode
}

// A page is written table by table.
type page struct {
	text strings.Builder
	now  time.Time
}

// table adds a table after an empty line; nothing without rows.
func (p *page) table(heads string, rows [][]string) {
	if text := table.Text(heads, rows); text != "" {
		p.text.WriteString("\n" + text)
	}
}

func (p *page) services(all []siteapi.Service) {
	var rows [][]string
	for _, one := range all {
		rows = append(rows, []string{one.Name, one.State, p.ago(one.Since), one.Reason})
	}
	p.table("SERVICE STATE FOR REASON", rows)
}

func (p *page) vips(all []siteapi.Service) {
	var rows [][]string
	for _, service := range all {
		for _, v := range service.VIPs {
			rows = append(rows, []string{v.Address.Addr().String(), service.Name, v.State, p.ago(v.Since), announced(v), v.Reason})
		}
	}
	p.table("VIP SERVICE STATE FOR ANNOUNCED REASON", rows)
}

// announced tells how, and as which prefix if not as itself.
func announced(v siteapi.VIP) string {
	text := v.Announced.As
	if len(v.Announced.To) > 0 {
		text = fmt.Sprintf("%s to %d", text, len(v.Announced.To))
	}
	if v.Announce != v.Address {
		text += " in " + v.Announce.String()
	}
	return text
}

func (p *page) guarded(all []siteapi.Service) {
	var rows [][]string
	for _, service := range all {
		for _, v := range service.VIPs {
			if g := v.Guard; g != nil {
				rows = append(rows, []string{v.Address.Addr().String(), p.suppressed(g), left(g), g.Holds})
			}
		}
	}
	p.table("GUARDED SUPPRESSED WITHDRAWALS-LEFT HELD-BY", rows)
}

func (p *page) suppressed(g *siteapi.VIPGuard) string {
	if !g.SuppressedUntil.After(p.now) {
		return ""
	}
	return "for " + table.Span(g.SuppressedUntil.Sub(p.now))
}

func left(g *siteapi.VIPGuard) string {
	if g.WithdrawalsLeft == nil {
		return ""
	}
	return fmt.Sprint(*g.WithdrawalsLeft)
}

func (p *page) bridged(all []siteapi.Service) {
	var rows [][]string
	for _, service := range all {
		for _, v := range service.VIPs {
			if b := v.Bridge; b != nil {
				rows = append(rows, []string{v.Address.Addr().String(), p.ago(b.Since), count(b.Packets), size(b.Bytes), count(b.Dropped), p.ago(b.Last), targets(b.Targets)})
			}
		}
	}
	p.table("BRIDGED FOR PACKETS BYTES DROPPED LAST TO", rows)
}

// targets names them, with their shares where there are several.
func targets(all []siteapi.Target) string {
	if len(all) == 1 {
		return all[0].Peer
	}
	var text []string
	for _, one := range all {
		text = append(text, fmt.Sprintf("%s (%d)", one.Peer, one.Weight))
	}
	return strings.Join(text, ", ")
}

func (p *page) checks(all []siteapi.Service) {
	var rows [][]string
	for _, service := range all {
		for _, c := range service.Checks {
			rows = append(rows, []string{service.Name + "/" + c.Name, c.State, p.ago(c.Since), c.Reason})
		}
	}
	p.table("CHECK STATE FOR REASON", rows)
}

func (p *page) neighbors(all []siteapi.Neighbor) {
	var sessions, bfd [][]string
	for _, n := range all {
		sessions = append(sessions, []string{n.Address.String(), n.State, p.ago(n.Since), fmt.Sprint(n.ASN), remark(n)})
		if b := n.BFD; b != nil {
			bfd = append(bfd, []string{n.Address.String(), b.State, b.RemoteState, p.ago(b.Since), b.Interval.String(), b.Detection.String(), scheduling(b.RealTime), detail(*b)})
		}
	}
	p.table("NEIGHBOR SESSION FOR AS REMARK", sessions)
	p.table("BFD STATE REMOTE FOR INTERVAL DETECTION SCHEDULING REASON", bfd)
}

func remark(n siteapi.Neighbor) string {
	if len(n.NotCarried) > 0 {
		return fmt.Sprintf("cannot carry %v", n.NotCarried)
	}
	return cmp.Or(strings.Join(n.Families, " "), n.Reason)
}

func scheduling(realTime bool) string {
	if realTime {
		return "real-time"
	}
	return "ordinary"
}

// detail adds the diagnostic to the reason where that does not say it.
func detail(b siteapi.BFD) string {
	if b.Diag == "" || strings.Contains(b.Reason, b.Diag) {
		return b.Reason
	}
	return strings.TrimPrefix(b.Reason+"; ", "; ") + "diagnostic: " + b.Diag
}

func (p *page) peers(all []siteapi.Peer) {
	var rows [][]string
	for _, one := range all {
		rtt, headroom := "", ""
		if one.Reachable {
			rtt, headroom = one.RTT.String(), fmt.Sprintf("%d%%", one.Headroom)
		}
		rows = append(rows, []string{one.Name, one.Site, one.VIP.String(), says(one), p.ago(one.Since), rtt, headroom, one.Reason})
	}
	p.table("PEER SITE VIP SAYS FOR RTT HEADROOM REMARK", rows)
}

// says is what a peer said of a VIP.
func says(p siteapi.Peer) string {
	if !p.Reachable {
		return "nothing"
	}
	var words []string
	for _, one := range []struct {
		word string
		true bool
	}{{"serving", p.Serving}, {"announcing", p.Announcing}, {"bridging", p.Bridging}} {
		if one.true {
			words = append(words, one.word)
		}
	}
	return cmp.Or(strings.Join(words, ","), "idle")
}

// cluster tells what Kubernetes asks for, what this node does of it, and where the addresses come from.
func (p *page) cluster(c *siteapi.Cluster) {
	if c == nil {
		return
	}
	fmt.Fprintf(&p.text, "\ncluster: %s\n", p.clusterState(c))
	var rows [][]string
	for _, one := range c.Services {
		for _, a := range one.Addresses {
			rows = append(rows, []string{one.Name, a.Address.String(), a.From, here(a), a.Why})
		}
		for _, problem := range one.Problems {
			rows = append(rows, []string{one.Name, "", "", "", problem})
		}
	}
	p.table("CLUSTER-SERVICE ADDRESS FROM HERE REASON", rows)
}

func (p *page) clusterState(c *siteapi.Cluster) string {
	state := "this is node " + c.Node
	switch {
	case !c.Synced:
		state += "; not all was read yet, so nothing of it is announced"
	case !c.Heard.IsZero():
		state += "; the API told something " + p.ago(c.Heard) + " ago"
	}
	if c.Leader != "" {
		state += "; addresses are given by the agent of node " + c.Leader
	}
	return state
}

func here(a siteapi.ClusterAddress) string {
	if a.Wanted {
		return "announce"
	}
	return "leave"
}

// problems are in the order of their weight, each with its remedy under it.
func (p *page) problems(s siteapi.Status) {
	if s.Brake != "" {
		fmt.Fprintf(&p.text, "\nBRAKE: nothing is withdrawn: %s\n", s.Brake)
	}
	if s.Bridge == nil || len(s.Bridge.Problems) == 0 {
		return
	}
	p.text.WriteString("\nPROBLEMS\n")
	all := slices.Clone(s.Bridge.Problems)
	slices.SortStableFunc(all, func(a, b siteapi.Problem) int { return rank(a) - rank(b) })
	for _, one := range all {
		fatal := ""
		if one.Fatal {
			fatal = " (prevents bridging)"
		}
		fmt.Fprintf(&p.text, "  %s%s: %s\n    remedy: %s\n", one.Name, fatal, one.What, one.Remedy)
	}
}

func rank(p siteapi.Problem) int {
	if p.Fatal {
		return 0
	}
	return 1
}

// ago tells how long something lasts.
func (p *page) ago(since time.Time) string { return table.Ago(since, p.now) }

func count(n uint64) string { return fmt.Sprint(n) }

// size tells octets in the unit that leaves up to four digits.
func size(n uint64) string {
	const units = " kMGTPE"
	f, unit := float64(n), 0
	for f >= 9999.5 && unit < len(units)-1 {
		f, unit = f/1000, unit+1
	}
	return strings.ReplaceAll(fmt.Sprintf("%.0f%cB", f, units[unit]), " ", "")
}
