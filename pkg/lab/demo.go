package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// demoInterval is fine enough to see repair times of a few milliseconds.
	demoInterval = time.Millisecond
	// demoFaults is how many of the faults are shown: those that take seconds are left to `edgelab run`.
	demoFaults = 3
	// podInterval is that of the client which talks to a pod's own address meanwhile.
	podInterval = 5 * time.Millisecond
)

// Demo shows a lab at work: who answers the client, then every fault once at the nearest site, who took over and what
// the client lost. It prints a table at the end.
func Demo(ctx context.Context, l *Lab, out io.Writer) error {
	p, err := findParts(l.Topology)
	if err != nil {
		return err
	}
	d := demo{lab: l, parts: p, out: out, began: time.Now(), random: rand.New(rand.NewPCG(rand.Uint64(), 0))}
	return watched(ctx, l, p, d.run)
}

type demo struct {
	lab   *Lab
	parts parts
	out   io.Writer
	began time.Time
	rows  []demoRow

	random *rand.Rand // of the moments at which the faults come
}

type demoRow struct {
	Measured
	podGap float64 // ms: longest gap of the client that talks to a pod
}

func (d *demo) run(ctx context.Context, watch *routeWatch) error {
	fmt.Fprintf(d.out, "%s: %d sites announce %s (service) and %s (DNS)\n",
		d.lab.Topology.Name, len(d.parts.sites), d.parts.vip.Addr(), d.parts.dns.Addr())
	if err := d.lab.Ready(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "up after %.1f s\n\nWho answers the client?\n", time.Since(d.began).Seconds())
	pod, err := d.whoAnswers(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.out, "\nThe nearest site breaks. A client sends a packet every millisecond; another one talks to a pod.")
	for _, f := range Faults()[:demoFaults] {
		if err := d.breakAndHeal(ctx, watch, f, pod); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	fmt.Fprintln(d.out)
	return d.table()
}

// whoAnswers asks the anycast DNS, the anycast service and the pod that DNS named, as a client would.
func (d *demo) whoAnswers(ctx context.Context) (pod netip.AddrPort, err error) {
	var answer probe.Reply
	err = d.ask(ctx, &answer, "edgeprobe", "query", "--server", d.parts.dns.String(), d.parts.name, "AAAA", "-o", "json")
	if err != nil {
		return pod, err
	}
	if len(answer.Answers) == 0 {
		return pod, fmt.Errorf("%s AAAA at %s: %s, no address", d.parts.name, d.parts.dns, answer.Rcode)
	}
	addr, err := netip.ParseAddr(answer.Answers[0].Value)
	if err != nil {
		return pod, fmt.Errorf("%s AAAA: %w", d.parts.name, err)
	}
	pod = netip.AddrPortFrom(addr, d.parts.vip.Port())
	t := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  DNS\t%s\t%s AAAA = %s\tfrom %s\t%.1f ms\n", d.parts.dns, d.parts.name, addr, answer.Site, answer.RTTMs)
	for _, target := range []struct {
		what string
		addr netip.AddrPort
	}{{"service", d.parts.vip}, {"pod", pod}} {
		var r probe.Report
		err := d.ask(ctx, &r, "edgeprobe", "run", "--target", target.addr.String(), "--interval", "10ms", "--duration", "300ms", "--json", "-")
		if err != nil {
			return pod, err
		}
		for site, n := range r.BySite {
			fmt.Fprintf(t, "  %s\t%s\t%d of %d packets answered\tby %s\t%.1f ms\n", target.what, target.addr, n, r.Sent, site, r.RTTMs.P50)
		}
	}
	return pod, t.Flush()
}

// ask runs a program at the client and reads its JSON.
func (d *demo) ask(ctx context.Context, into any, argv ...string) error {
	cmd, err := d.lab.Command(ctx, d.parts.client, argv...)
	if err != nil {
		return err
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := d.lab.Spawn(d.parts.client, cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", argv[0], argv[1], err, bytes.TrimSpace(said.Bytes()))
	}
	return json.Unmarshal(out.Bytes(), into)
}

// breakAndHeal makes one run of a fault with a second client beside it.
func (d *demo) breakAndHeal(ctx context.Context, watch *routeWatch, f Fault, pod netip.AddrPort) error {
	fmt.Fprintf(d.out, "  %-13s ", f.Name)
	client, err := probing(ctx, d.lab, probeTask{node: d.parts.client, target: pod, interval: podInterval})
	if err != nil {
		return err
	}
	e := Experiment{Fault: f, ProbeInterval: demoInterval, Progress: d.out, aftermath: time.Second}
	m, err := e.valid(ctx, d.lab, d.parts, watch, d.random)
	if err != nil {
		client.abandon()
		return err
	}
	r, err := client.stop()
	if err != nil {
		return err
	}
	row := demoRow{Measured: m}
	for _, o := range r.Outages {
		row.podGap = max(row.podGap, o.GapMs)
	}
	d.rows = append(d.rows, row)
	fmt.Fprintf(d.out, "%s took over from %s: %d packets lost, repaired in %.0f ms; client of the pod: %s\n",
		m.SiteTo, m.SiteFrom, m.Lost, m.MTTRMs, podGap(row.podGap))
	return nil
}

func podGap(ms float64) string {
	if ms == 0 {
		return "no gap"
	}
	return fmt.Sprintf("gap of %.0f ms", ms)
}

func (d *demo) table() error {
	t := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SITE\tFAULT\tDETECTED AFTER\tBRIDGED AFTER\tROUTERS TOLD AFTER\tTAKEN OVER BY\tLOST\tMTTR\tRTT TO SITE\tPOD CLIENT")
	for _, r := range d.rows {
		bridged := "-"
		if at, is := r.Phases["bridged"]; is {
			bridged = fmt.Sprintf("%.1f ms", at)
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f ms\t%s\t%.1f ms\t%s\t%d\t%.0f ms\t%.1f ms\t%s\n", r.SiteFrom, r.Fault,
			r.DetectMs, bridged, r.WithdrawMs, r.SiteTo, r.Lost, r.MTTRMs, r.RTTMs, podGap(r.podGap))
	}
	return t.Flush()
}
