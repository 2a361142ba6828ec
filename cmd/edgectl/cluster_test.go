package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

// clustered is an agent of a cluster with a Service that is announced, one that is not here, and one without an address.
func clustered() siteapi.Status {
	seven := netip.MustParsePrefix("2001:db8:54::7/128")
	return siteapi.Status{
		Site: "mec-1", Version: "v1",
		Services: []siteapi.Service{{
			Name: "shop/web/ipv6", State: "up", Since: before(time.Hour), Reason: "up for 2s",
			Health: siteapi.Health{State: "up", Since: before(time.Hour), Reason: "1 of 1 checks up"},
			VIPs:   []siteapi.VIP{{Address: seven, Announce: seven, State: "up", Since: before(time.Hour), Reason: "up for 2s", Announced: siteapi.Announced{As: "plain"}}},
		}},
		Cluster: &siteapi.Cluster{
			Node: "edge-1", Synced: true, Heard: before(12 * time.Second), Leader: "edge-2",
			Services: []siteapi.ClusterService{
				{Name: "shop/api", Problems: []string{"AddressTaken: 2001:db8:54::7 is asked for, and is that of Service shop/web"}},
				{Name: "shop/cart", Addresses: []siteapi.ClusterAddress{{Address: netip.MustParseAddr("192.0.2.7"), From: "pool edge", Why: "this node is cordoned"}}},
				{Name: "shop/web", Addresses: []siteapi.ClusterAddress{{Address: seven.Addr(), From: "pool edge, asked for", Wanted: true, Why: "2 ready endpoints on this node"}}},
			},
		},
	}
}

func TestClusterTable(t *testing.T) {
	want := `site mec-1, edgeagent v1

SERVICE        STATE  FOR   REASON
shop/web/ipv6  up     1h0m  up for 2s

VIP             SERVICE        STATE  FOR   ANNOUNCED  REASON
2001:db8:54::7  shop/web/ipv6  up     1h0m  plain      up for 2s

cluster: this is node edge-1; the API told something 12s ago; addresses are given by the agent of node edge-2

CLUSTER-SERVICE  ADDRESS         FROM                  HERE      REASON
shop/api         -               -                     -         AddressTaken: 2001:db8:54::7 is asked for, and is that of Service shop/web
shop/cart        192.0.2.7       pool edge             leave     this node is cordoned
shop/web         2001:db8:54::7  pool edge, asked for  announce  2 ready endpoints on this node
`
	show := func(s siteapi.Status) string {
		var out strings.Builder
		if err := tables(&out, s, now); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if diff := cmp.Diff(want, show(clustered())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	unknown := siteapi.Status{Site: "mec-1", Version: "v1", Cluster: &siteapi.Cluster{Node: "edge-1"}}
	want = "site mec-1, edgeagent v1\n\ncluster: this is node edge-1; not all was read yet, so nothing of it is announced\n"
	if diff := cmp.Diff(want, show(unknown)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExplainCluster(t *testing.T) {
	want := `2001:db8:54::7 of service shop/web/ipv6 is up for 1h0m
  because    up for 2s
  health     up for 1h0m: 1 of 1 checks up
  cluster    Service shop/web: announce here: 2 ready endpoints on this node
             its address is from pool edge, asked for
             this is node edge-1; the API told something 12s ago; addresses are given by the agent of node edge-2
  announced  plain, to nobody: no session carries it
`
	var out strings.Builder
	if err := explain(&out, clustered(), "shop/web/ipv6", now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTellsClusterChanges(t *testing.T) {
	var out strings.Builder
	teller := newTeller(&out)
	if err := teller.tell(clustered()); err != nil {
		t.Fatal(err)
	}
	next := clustered()
	next.Cluster.Services[0].Problems = nil
	next.Cluster.Heard = now
	out.Reset()
	if err := teller.tell(next); err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(out.String(), " "); got != "cluster service shop/api off\n" {
		t.Errorf("told %q", got)
	}
}
