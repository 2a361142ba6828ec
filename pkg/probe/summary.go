package probe

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// shownOutages is how many outages a summary lists.
const shownOutages = 20

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s), every %s for %s: sent %d, answered %d, lost %d (%s)", r.Target, r.Mode,
		milliseconds(r.IntervalMs), milliseconds(float64(r.Scheduled)*r.IntervalMs), r.Sent, r.Received, r.Lost, share(r.Lost, r.Sent))
	r.writeOddities(&b)
	r.writeSites(&b)
	r.writeOutages(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeOddities ends the first line with the counts that are usually zero.
func (r Report) writeOddities(b *strings.Builder) {
	for _, odd := range []struct {
		name string
		n    int
	}{
		{"failed", r.Failed}, {"late", r.Late}, {"duplicates", r.Duplicates}, {"ignored", r.Ignored},
		{"errors", r.Errors}, {"not sent in time", r.Scheduled - r.Sent},
	} {
		if odd.n > 0 {
			fmt.Fprintf(b, ", %s %d", odd.name, odd.n)
		}
	}
	if r.LastError != "" {
		fmt.Fprintf(b, " (%s)", r.LastError)
	}
	b.WriteByte('\n')
}

func (r Report) writeSites(b *strings.Builder) {
	if len(r.BySite) == 0 {
		b.WriteString("\nno site answered\n")
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\nsite\tanswered\tshare\tRTT p50\tp90\tp99\tmax ms\t\n")
	for _, site := range slices.Sorted(maps.Keys(r.BySite)) {
		rtt := r.RTTBySiteMs[site]
		fmt.Fprintf(t, "%s\t%d\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t\n",
			site, r.BySite[site], share(r.BySite[site], r.Received), rtt.P50, rtt.P90, rtt.P99, rtt.Max)
	}
	_ = t.Flush() // to memory
}

func (r Report) writeOutages(b *strings.Builder) {
	if len(r.Outages) == 0 {
		b.WriteString("\nno outages\n")
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\noutage at\tlost\tlost x interval\tgap ms\tfrom\tto\t\n")
	for _, o := range r.Outages[:min(len(r.Outages), shownOutages)] {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t\n", o.Start.Format("15:04:05.000"), o.Lost, milliseconds(o.DurationMs),
			known(o.GapMs), name(o.FromSite), name(o.ToSite))
	}
	_ = t.Flush() // to memory
	if more := len(r.Outages) - shownOutages + r.MoreOutages; more > 0 && len(r.Outages) > shownOutages {
		fmt.Fprintf(b, "and %d more\n", more)
	}
	fmt.Fprintf(b, "\nMTTR %s: %d lost x %s, in %d outages\n", milliseconds(r.MTTRMs), r.Lost, milliseconds(r.IntervalMs),
		len(r.Outages)+r.MoreOutages)
}

// milliseconds formats a number of milliseconds without needless digits.
func milliseconds(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond).String()
}

func known(gap float64) string {
	if gap == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", gap)
}

func name(site string) string {
	if site == "" {
		return "-"
	}
	return site
}

func share(n, of int) string {
	if of == 0 {
		return "0%"
	}
	return fmt.Sprintf("%.2f%%", 100*float64(n)/float64(of))
}
