// Package table lays out what operators' commands show: aligned columns, and spans of time as people say them.
package table

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Text aligns rows under their heads, words between spaces; nothing without rows. The last column may be as long as it
// likes. An empty cell is "-".
func Text(heads string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(heads, " ", "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = cmp.Or(strings.Join(strings.Fields(cell), " "), "-")
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush() // a strings.Builder takes everything
	return b.String()
}

// Ago tells how long something has lasted, coarsely; "-" when that is unknown.
func Ago(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return Span(now.Sub(since))
}

// Span is a duration to its two largest units.
func Span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
