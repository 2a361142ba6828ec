package client

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

// shownRows is how many pods, answers or sites a summary lists.
const shownRows = 20

// WriteText writes the report for people.
func (r HTTPReport) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "http://%s port %d by %s, %s, TTL %s%s: scheduled %d, OK %d, failed %d (%s)", r.Name, r.Port, r.Server,
		crowd(r.Clients, r.Rate), heeding(r.TTL), keeping(r.KeepAlive), r.Scheduled, r.OK, r.Failed, percent(r.Failed, r.Scheduled))
	writeOddities(&b, []oddity{{"skipped", r.Skipped}, {"retries", r.Retries}, {"reconnects", r.Reconnects}, {"lookups failed", r.LookupFails}})
	fmt.Fprintf(&b, "%d connections (IPv6 %d, IPv4 %d), %d lookups\n", r.Connections, r.IPv6, r.IPv4, r.Lookups)
	r.Errors.write(&b)
	writeTimes(&b, []timed{{"latency", r.LatencyMs}, {"lookup", r.LookupMs}, {"connect", r.ConnectMs}, {"started late", r.SendLateMs}})
	r.writePods(&b)
	r.Gaps.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func heeding(ttl string) string {
	if ttl == ttlIgnored {
		return "ignored"
	}
	return "honoured"
}

func keeping(alive bool) string {
	if alive {
		return ", connections kept"
	}
	return ""
}

func (r HTTPReport) writePods(b *strings.Builder) {
	if len(r.Pods) == 0 {
		b.WriteString("\nno pod answered\n")
		return
	}
	t := table(b)
	fmt.Fprint(t, "\npod\tname\tOK\tshare\tfailed\tlatency p50\tp99\tmax ms\t\n")
	by := func(a, b string) int { return cmp.Or(r.Pods[b].OK-r.Pods[a].OK, strings.Compare(a, b)) }
	rows(b, t, r.Pods, by, func(address string, p Pod) {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.1f%%\t%d\t%.3f\t%.3f\t%.3f\t\n",
			address, cmp.Or(p.Name, "-"), p.OK, 100*p.Share, p.Failed, p.LatencyMs.P50, p.LatencyMs.P99, p.LatencyMs.Max)
	})
}

func (g Gaps) write(b *strings.Builder) {
	if g.Clients == 0 {
		fmt.Fprintf(b, "\nno gaps: every request of %d clients succeeded\n", g.Asking)
		return
	}
	fmt.Fprintf(b, "\n%d of %d clients had a gap: p50 %s, p99 %s, longest %s from %s on; %d clients never succeeded\n",
		g.Clients, g.Asking, milliseconds(g.Ms.P50), milliseconds(g.Ms.P99), milliseconds(g.Ms.Max), g.Longest.Format("15:04:05.000"), g.Never)
}

// WriteText writes the report for people.
func (r DNSReport) WriteText(w io.Writer) error {
	var b strings.Builder
	caching := "no caches"
	if r.Cache {
		caching = "caches"
	}
	fmt.Fprintf(&b, "%s %s by %s, %s, %s: scheduled %d, queries %d, answered %d (%.1f/s), failed %d (%s)", r.Name, r.Type, r.Server,
		crowd(r.Clients, r.Rate), caching, r.Scheduled, r.Queries, r.Answered, r.QPS, r.Failed, percent(r.Failed, r.Queries))
	writeOddities(&b, []oddity{{"cache hits", r.CacheHits}, {"skipped", r.Skipped}})
	r.Errors.write(&b)
	writeTimes(&b, []timed{{"latency", r.LatencyMs}, {"started late", r.SendLateMs}})
	r.writeAnswers(&b)
	writeCounts(&b, "site", r.Sites, r.Answered)
	writeCounts(&b, "rcode", r.Rcodes, r.Answered)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r DNSReport) writeAnswers(b *strings.Builder) {
	if len(r.Answers) == 0 {
		b.WriteString("\nno records\n")
		return
	}
	t := table(b)
	fmt.Fprint(t, "\nanswer\tgiven\tused\tshare\t\n")
	by := func(a, b string) int { return cmp.Or(r.Answers[b].Used-r.Answers[a].Used, strings.Compare(a, b)) }
	rows(b, t, r.Answers, by, func(value string, a Answer) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f%%\t\n", value, a.Given, a.Used, 100*a.Share)
	})
}

func writeCounts(b *strings.Builder, what string, counts map[string]int, total int) {
	if len(counts) == 0 {
		return
	}
	t := table(b)
	fmt.Fprintf(t, "\n%s\tanswers\tshare\t\n", what)
	by := func(x, y string) int { return cmp.Or(counts[y]-counts[x], strings.Compare(x, y)) }
	rows(b, t, counts, by, func(key string, n int) { fmt.Fprintf(t, "%s\t%d\t%s\t\n", key, n, percent(n, total)) })
}

// rows writes the first rows of a table in order, ends it, and tells how many are left out.
func rows[V any](b *strings.Builder, t *tabwriter.Writer, m map[string]V, by func(a, b string) int, row func(string, V)) {
	keys := slices.SortedFunc(maps.Keys(m), by)
	for _, key := range keys[:min(len(keys), shownRows)] {
		row(key, m[key])
	}
	_ = t.Flush() // to memory
	if more := len(keys) - shownRows; more > 0 {
		fmt.Fprintf(b, "and %d more\n", more)
	}
}

func (f failures) write(b *strings.Builder) {
	for _, kind := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(b, "  %s %d: %s\n", kind, f[kind].N, f[kind].Last)
	}
}

// A timed is a line of the table of times.
type timed struct {
	name string
	ms   probe.Percentiles
}

func writeTimes(b *strings.Builder, lines []timed) {
	t := table(b)
	fmt.Fprint(t, "\nms\tp50\tp90\tp99\tmax\t\n")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t\n", l.name, l.ms.P50, l.ms.P90, l.ms.P99, l.ms.Max)
	}
	_ = t.Flush() // to memory
}

// An oddity is a count that is not always worth telling.
type oddity struct {
	name string
	n    int
}

func writeOddities(b *strings.Builder, odd []oddity) {
	for _, o := range odd {
		if o.n > 0 {
			fmt.Fprintf(b, ", %s %d", o.name, o.n)
		}
	}
	b.WriteByte('\n')
}

func crowd(clients int, rate float64) string {
	return fmt.Sprintf("%d clients, %g requests/s", clients, rate)
}

func table(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func percent(n, of int) string { return fmt.Sprintf("%.2f%%", 100*share(n, of)) }

func milliseconds(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond).String()
}
