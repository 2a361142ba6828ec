package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anyedge/anyedge/internal/table"
	"github.com/anyedge/anyedge/pkg/dnsapi"
)

func statusText(s dnsapi.Status, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "site %s, edgedns %s, listening on %s\n", s.Site, s.Version, joined(s.Listen))
	fmt.Fprintf(&b, "%s loaded %s ago", s.Reload.File, table.Ago(s.Reload.Loaded, now))
	if s.Reload.Error != "" {
		fmt.Fprintf(&b, "; NOT RELOADED %s ago: %s", table.Ago(s.Reload.Tried, now), s.Reload.Error)
	}
	if b.WriteString("\n"); !s.Synced {
		b.WriteString("NOT SYNCED: SERVFAIL is answered until every endpoint was checked\n")
	}
	stale := make(map[string]int)
	var rows [][]string
	for _, one := range s.Services {
		stale[one.Stale]++
		rows = append(rows, []string{
			one.Name, one.Policy, strconv.Itoa(one.Answers), strconv.Itoa(one.Endpoints), strconv.Itoa(one.Up), strconv.Itoa(one.Draining),
			strings.Join(one.Panic, "; "),
		})
	}
	delete(stale, "")
	for _, why := range slices.Sorted(maps.Keys(stale)) {
		fmt.Fprintf(&b, "STALE, %d of %d services: %s\n", stale[why], len(s.Services), why)
	}
	b.WriteString("\n" + table.Text("SERVICE POLICY ANSWERS ENDPOINTS UP DRAINING PANIC", rows))
	return b.String()
}

func joined[T fmt.Stringer](all []T) string {
	var words []string
	for _, one := range all {
		words = append(words, one.String())
	}
	return strings.Join(words, " ")
}

func serviceText(s dnsapi.Service, now time.Time) string {
	return fmt.Sprintf("%s by %s, answers %d\n%s\n%s", s.Name, s.Policy, s.Answers, troubles(&s.Summary), endpointsText(s.List, now))
}

// troubles has a line for each family that panics, and one where what is known may be old.
func troubles(s *dnsapi.Summary) string {
	var b strings.Builder
	if s.Stale != "" {
		b.WriteString("STALE " + s.Stale + "\n")
	}
	for _, why := range s.Panic {
		b.WriteString("PANIC " + why + "\n")
	}
	return b.String()
}

func endpointsText(list []dnsapi.Endpoint, now time.Time) string {
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{
			e.Address.String(), port(e.Port), state(e), table.Ago(e.Since, now), short(e.Weight), share(e.Share), loadAge(e.LoadAge), picked(e), remark(e),
		})
	}
	return table.Text("ADDRESS PORT STATE FOR WEIGHT SHARE LOAD-AGE PICKED REASON", rows)
}

func port(n uint16) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

func state(e dnsapi.Endpoint) string {
	if e.Draining != "" {
		return e.State + ",draining"
	}
	return e.State
}

func short(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }

// share is empty for who gets nothing.
func share(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(100*f, 'f', 1, 64) + "%"
}

func loadAge(s *float64) string {
	if s == nil {
		return ""
	}
	return strconv.FormatFloat(*s, 'f', 1, 64) + "s"
}

func picked(e dnsapi.Endpoint) string {
	if e.Picked {
		return "yes"
	}
	return ""
}

// remark joins what is known of an endpoint.
func remark(e dnsapi.Endpoint) string {
	var words []string
	for _, part := range []struct{ head, text string }{{"draining: ", e.Draining}, {"", e.Weighing}, {"no load: ", e.NoLoad}, {"", e.Reason}} {
		if part.text != "" {
			words = append(words, part.head+part.text)
		}
	}
	return strings.Join(words, "; ")
}

func decisionText(d dnsapi.Decision, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s for %s", d.Name, d.Type, d.Client)
	if d.Subnet.IsValid() {
		fmt.Fprintf(&b, " asking for %s", d.Subnet)
	}
	fmt.Fprintf(&b, " at site %s", d.Site)
	if d.View != "" {
		fmt.Fprintf(&b, ", view %s", d.View)
	}
	fmt.Fprintf(&b, "\n%s: %s\n", d.Rcode, d.Reason)
	if d.Service != nil && d.Service.Stale != "" {
		b.WriteString("STALE " + d.Service.Stale + "\n")
	}
	if text := endpointsText(d.Candidates, now); text != "" {
		b.WriteString("\n" + text)
	}
	if len(d.Answer) > 0 {
		b.WriteString("\nANSWER\n")
		for _, record := range d.Answer {
			b.WriteString("  " + record + "\n")
		}
	}
	return b.String()
}

func drainedText(d dnsapi.Drained, _ time.Time) string {
	switch {
	case !d.Draining:
		return fmt.Sprintf("%s of %s is answered again when it is up\n", d.Address, d.Service)
	case d.Kept:
		return fmt.Sprintf("%s of %s gets nothing new until undrain, also after a restart\n", d.Address, d.Service)
	default:
		return fmt.Sprintf("%s of %s gets nothing new until undrain or a restart: the file keeps no drains (admin: {drains: FILE})\n", d.Address, d.Service)
	}
}
