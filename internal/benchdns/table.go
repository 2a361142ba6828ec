package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

func qps(s sample) float64    { return s.QPS }
func cpu(s sample) float64    { return s.CPU }
func memory(s sample) float64 { return s.Memory }
func p50(s sample) float64    { return s.P50 }
func p99(s sample) float64    { return s.P99 }

// printTable prints a block for each load. Ratios are those of medians.
func printTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, r := range rows {
		if i == 0 || rows[i-1].Load != r.Load {
			fmt.Fprintf(t, "\n%s\tq/s\tmin\tmax\tx echo\tx gdnsd\tus CPU/query\tp50 us\tp99 us\tMB\tlost\twrong\t\n", r.Load)
		}
		rate, least, most := r.of(qps)
		processor, _, _ := r.of(cpu)
		mb, _, _ := r.of(memory)
		half, _, _ := r.of(p50)
		most99, _, _ := r.of(p99)
		var lost, wrong uint64
		for _, s := range r.Samples {
			lost, wrong = lost+s.Lost, wrong+s.Wrong
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t%.2f\t%.0f\t%.0f\t%.0f\t%d\t%d\t\n", r.Server, rate, least, most,
			ratio(rows, r, echoName), ratio(rows, r, gdnsdName), processor, half, most99, mb, lost, wrong)
	}
	return t.Flush()
}

// ratio is that of a row to another server's under the same load.
func ratio(rows []row, r row, server string) string {
	i := slices.IndexFunc(rows, func(other row) bool { return other.Load == r.Load && other.Server == server })
	if i < 0 {
		return "-"
	}
	mine, _, _ := r.of(qps)
	its, _, _ := rows[i].of(qps)
	return fmt.Sprintf("%.2f", mine/its)
}

// rightAnswers returns an error when there was a wrong one.
func rightAnswers(rows []row) error {
	var n uint64
	for _, r := range rows {
		for _, s := range r.Samples {
			n += s.Wrong
		}
	}
	if n > 0 {
		return fmt.Errorf("%d wrong answers", n)
	}
	return nil
}
