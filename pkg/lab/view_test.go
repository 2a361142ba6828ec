package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestView(t *testing.T) {
	site, events := readSite("mec-1", []entry{
		{Event: "decision", Service: "old", State: "up"},
		{Event: "start", MonoNs: 1e9},
		{Event: "session", MonoNs: 2e9, Neighbor: "2001:db8::1", State: "established"},
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
>   mec-1   app withdrawn, dns settling   2001:db8::1 established
    mec-2                                 

       0.000  mec-1: old up: 
       1.000  mec-1: agent starts
       3.000  mec-1: dns settling: 2 of 2 checks up
       4.000  mec-1: app withdrawn: last udp socket destroyed
       5.000  mec-2 answers the client

Ctrl-C ends the view; the lab stays up.
`
	if diff := cmp.Diff(want, v.String()); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
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
