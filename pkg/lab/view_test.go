package lab

import (
	"cmp"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestView(t *testing.T) {
	site, events := readSite("mec-1", []entry{
		{Event: "decision", Service: "old", State: "up"},
		{Event: "start", MonoNs: 1e9},
		{Event: "session", MonoNs: 2e9, Protocol: "bgp", Neighbor: "2001:db8::1", State: "established"},
		{Event: "session", MonoNs: 2e9, Protocol: "bfd", Neighbor: "2001:db8::1", State: "up"},
		{Event: "session", MonoNs: 2e9, Protocol: "bfd", Neighbor: "2001:db8::2", State: "down"},
		{Event: "decision", MonoNs: 3e9, Service: "dns", State: "settling", Reason: "2 of 2 checks up"},
		{Event: "decision", MonoNs: 4e9, Service: "app", State: "withdrawn", Reason: "last udp socket destroyed"},
	})
	v := view{
		lab: "quickstart", target: "[2001:db8::80]:7000", client: clientView{site: "mec-1", sent: 10, received: 9, lost: 1},
		sites:  []siteView{site, {name: "mec-2"}},
		events: latest(append(events, viewEvent{5e9, "mec-2 answers the client"})),
	}
	want := `quickstart: client -> [2001:db8::80]:7000   served by mec-1   sent 10, answered 9, lost 1

    SITE    SERVICES                      BGP SESSIONS
>   mec-1   app withdrawn, dns settling   2001:db8::1 established, BFD up; 2001:db8::2 idle, BFD down
    mec-2                                 

       0.000  mec-1: old up: 
       1.000  mec-1: agent starts
       3.000  mec-1: dns settling: 2 of 2 checks up
       4.000  mec-1: app withdrawn: last udp socket destroyed
       5.000  mec-2 answers the client

Ctrl-C ends the view; the lab stays up.
`
	if diff := gocmp.Diff(want, v.String()); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
}

// In an outage nobody serves the client, whoever did last.
func TestViewOfAnOutage(t *testing.T) {
	var c clientView
	var told []string
	for _, e := range []probeEvent{
		{Event: "site", Site: "mec-1", Sent: 1, Received: 1},
		{Event: "progress", Site: "mec-1", Sent: 10, Received: 9, Lost: 1},
		{Event: "outage", State: "start", Site: "mec-1", Sent: 20, Received: 10, Lost: 1, OutageMs: 30},
		{Event: "progress", Site: "mec-1", Sent: 30, Received: 10, Lost: 11, OutageMs: 130},
		{Event: "outage", State: "end", Site: "mec-1", Sent: 40, Received: 11, Lost: 20},
		{Event: "site", Site: "mec-2", Sent: 41, Received: 12, Lost: 20},
	} {
		c.take(e)
		told = append(told, cmp.Or(c.site, "-")+": "+e.news())
	}
	want := []string{
		"mec-1: mec-1 answers the client", "mec-1: ", "-: nobody answers the client", "-: ",
		"mec-1: mec-1 answers the client again", "mec-2: mec-2 answers the client",
	}
	if diff := gocmp.Diff(want, told); diff != "" || c != (clientView{"mec-2", 41, 12, 20}) {
		t.Errorf("%+v (-want +got)\n%s", c, diff)
	}
}

func TestLatestEvents(t *testing.T) {
	var events []viewEvent
	for i := range int64(20) {
		events = append(events, viewEvent{at: 20 - i})
	}
	got := latest(events)
	if len(got) != viewEvents || got[0].at != 20-viewEvents+1 || got[viewEvents-1].at != 20 {
		t.Errorf("latest = %v, want the last %d in order", got, viewEvents)
	}
}
