package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/table"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

func explainCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [VIP|SERVICE]",
		Short: "Tell why a VIP stands where it does, and what happens next",
		Long: "explain tells of one VIP, of all VIPs of a service, or of all: its state and why, what its checks say, what is announced\n" +
			"to whom, where its packets go, which guards act, what other hosts say, and what happens next.",
		Example: "  edgectl explain\n  edgectl explain dns\n  edgectl explain 2001:db8:53::53",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: o.completeVIPs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return explain(cmd.OutOrStdout(), s, strings.Join(args, ""), time.Now())
		},
	}
}

// explain tells of what is asked for; all when that is empty.
func explain(w io.Writer, s siteapi.Status, what string, now time.Time) error {
	p := page{now: now}
	for _, service := range s.Services {
		for _, v := range service.VIPs {
			if what == "" || what == service.Name || isVIP(v, what) {
				p.explain(s, service, v)
			}
		}
	}
	if p.text.Len() == 0 && what != "" {
		return fmt.Errorf("no VIP and no service %q: the agent has %s", what, strings.Join(names(s), ", "))
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

// isVIP takes an address with and without its length.
func isVIP(v siteapi.VIP, text string) bool {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix == v.Address || prefix == v.Announce
	}
	a, err := netip.ParseAddr(text)
	return err == nil && a.Unmap() == v.Address.Addr()
}

// names are all that explain takes.
func names(s siteapi.Status) (all []string) {
	for _, service := range s.Services {
		all = append(all, service.Name)
		for _, v := range service.VIPs {
			all = append(all, v.Address.Addr().String())
		}
	}
	return all
}

// explain writes a paragraph about one VIP: a head, and lines of a word and what is to be said about it.
func (p *page) explain(s siteapi.Status, service siteapi.Service, v siteapi.VIP) {
	if p.text.Len() > 0 {
		p.text.WriteByte('\n')
	}
	state, since, reason := v.State, v.Since, v.Reason
	if state == "" { // an agent that knows only services
		state, since, reason = service.State, service.Since, service.Reason
	}
	fmt.Fprintf(&p.text, "%s of service %s is %s for %s\n", v.Address.Addr(), service.Name, state, p.ago(since))
	p.line("because", reason)
	p.line("next", v.Next)
	p.line("drain", service.Drain)
	p.line("health", fmt.Sprintf("%s for %s: %s", service.Health.State, p.ago(service.Health.Since), service.Health.Reason))
	p.line("degraded", service.Health.Degraded)
	for _, c := range service.Checks {
		p.line("check", fmt.Sprintf("%s is %s for %s: %s", c.Name, c.State, p.ago(c.Since), c.Reason))
	}
	p.asked(s.Cluster, v)
	p.announcement(s, v)
	p.bridge(v.Bridge)
	p.guards(s, v.Guard)
	for _, one := range s.Peers {
		if one.VIP == v.Address.Addr() {
			p.line("peer", p.peer(one))
		}
	}
	p.bridgeProblems(s.Bridge)
}

// asked tells what Kubernetes says of a VIP.
func (p *page) asked(c *siteapi.Cluster, v siteapi.VIP) {
	if c == nil {
		return
	}
	for _, one := range c.Services {
		for _, a := range one.Addresses {
			if a.Address == v.Address.Addr() {
				p.line("cluster", fmt.Sprintf("Service %s: %s here: %s", one.Name, here(a), a.Why))
				p.line("", "its address is from "+a.From)
				p.line("", p.clusterState(c))
			}
		}
	}
}

// line leaves out what there is nothing to say about.
func (p *page) line(what, text string) {
	if text = strings.TrimRight(strings.Join(strings.Fields(text), " "), ": "); text != "" {
		fmt.Fprintf(&p.text, "  %-10s %s\n", what, text)
	}
}

func (p *page) announcement(s siteapi.Status, v siteapi.VIP) {
	a, as := v.Announced, ""
	if v.Announce != v.Address {
		as = " in " + v.Announce.String()
	}
	switch {
	case a.As == "" && v.State == "":
	case a.As == "":
		p.line("announced", "no")
	case len(a.To) == 0:
		p.line("announced", a.As+as+", to nobody: no session carries it")
	default:
		p.line("announced", a.As+as+" to "+join(a.To))
	}
	for _, n := range s.Neighbors {
		if n.State != "established" {
			p.line("", fmt.Sprintf("not to %s: its session is %s for %s: %s", n.Address, n.State, p.ago(n.Since), n.Reason))
		}
		for _, not := range n.NotCarried {
			if not == v.Announce {
				p.line("", fmt.Sprintf("not to %s: its session cannot carry %s", n.Address, not))
			}
		}
	}
	if len(a.Heard) > 0 {
		p.line("elsewhere", "another origin's route comes back from "+join(a.Heard))
	}
	if len(a.Peers) > 0 {
		p.line("elsewhere", "announced and served by "+strings.Join(a.Peers, ", "))
	}
}

func (p *page) bridge(b *siteapi.VIPBridge) {
	if b == nil {
		return
	}
	p.line("bridge", fmt.Sprintf("to %s for %s", targets(b.Targets), p.ago(b.Since)))
	last := "no packet yet"
	if !b.Last.IsZero() {
		last = "the last " + p.ago(b.Last) + " ago"
	}
	p.line("", fmt.Sprintf("%d packets, %s, %d dropped by the limit; %s", b.Packets, size(b.Bytes), b.Dropped, last))
}

func (p *page) guards(s siteapi.Status, g *siteapi.VIPGuard) {
	if s.Brake != "" {
		p.line("guard", "brake: nothing is withdrawn: "+s.Brake)
	}
	if g == nil {
		return
	}
	p.line("guard", holding(g.Holds))
	if g.SuppressedUntil.After(p.now) {
		p.line("guard", fmt.Sprintf("not announced in full for another %s, until %s", table.Span(g.SuppressedUntil.Sub(p.now)), g.SuppressedUntil.Format(time.TimeOnly)))
	}
	if g.WithdrawalsLeft != nil {
		p.line("guard", fmt.Sprintf("%d more withdrawals before the budget keeps it announced", *g.WithdrawalsLeft))
	}
}

// holding says what a guard that holds means.
func holding(guard string) string {
	const stays = ": it stays announced though it is sick: "
	switch guard {
	case "last_announcer":
		return guard + stays + "nobody else is seen to announce it"
	case "brake":
		return guard + stays + "too many services fell sick at once"
	case "budget":
		return guard + stays + "it went away too often"
	default:
		return guard
	}
}

func (p *page) peer(one siteapi.Peer) string {
	text := fmt.Sprintf("%s (%s) says %s", one.Name, one.Site, says(one))
	if one.Reachable {
		text += fmt.Sprintf(", %s away, %d%% headroom", one.RTT, one.Headroom)
	}
	if one.Reason != "" {
		return text + "; no target: " + one.Reason
	}
	return text + "; may be a target"
}

func (p *page) bridgeProblems(b *siteapi.Bridge) {
	if b == nil {
		return
	}
	for _, one := range b.Problems {
		if one.Fatal {
			p.line("problem", one.What+"; remedy: "+one.Remedy)
		}
	}
}

func join[T fmt.Stringer](all []T) string {
	text := make([]string, len(all))
	for i, one := range all {
		text[i] = one.String()
	}
	return strings.Join(text, ", ")
}

// completeVIPs is for the shell.
func (o *options) completeVIPs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, args, names)
}
