package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var client = Node{Name: "client", Labels: map[string]string{
	LabelRole: "client", LabelVIP: "[2001:db8::80]:7000", LabelDNS: "192.0.2.53:53", LabelName: "api.example.",
}}

func TestFindParts(t *testing.T) {
	labels := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		name  string
		nodes []Node
		links []Link
		want  parts
		err   string
	}{
		{name: "no client", nodes: []Node{{Name: "r1"}}, err: "lab x: no node has the label anyedge-role: client"},
		{
			name: "client without address", nodes: []Node{{Name: "c", Labels: labels(LabelRole, "client")}},
			err: `lab x: node c: label anyedge-vip: not an ip:port`,
		},
		{
			name: "unknown role", nodes: []Node{{Name: "a", Labels: labels(LabelRole, "boss")}},
			err: `lab x: node a: label anyedge-role: "boss" is none of client, service, dns, agent`,
		},
		{
			name: "service of no site", nodes: []Node{{Name: "a", Labels: labels(LabelRole, "service")}},
			err: "lab x: node a: label anyedge-site lacks",
		},
		{
			name: "two sites and a router",
			nodes: []Node{
				client,
				{Name: "r1", Cmd: []string{"edgelab", "router", "/r.yaml"}},
				{Name: "a1", Host: "h1", Labels: labels(LabelRole, "agent", LabelSite, "mec-1")},
				{Name: "s1", Host: "h1", Labels: labels(LabelRole, "service", LabelSite, "mec-1")},
				{Name: "a2", Labels: labels(LabelRole, "agent", LabelSite, "mec-2", LabelHost, "mec-2-b")},
			},
			links: []Link{
				{A: Endpoint{"r1", "eth2"}, B: Endpoint{"h1", "eth1"}},
				{A: Endpoint{"h1", "eth2"}, B: Endpoint{"pod", "eth1"}},
			},
			want: parts{
				client: "client", name: "api.example.",
				vip: netip.MustParseAddrPort("[2001:db8::80]:7000"), dns: netip.MustParseAddrPort("192.0.2.53:53"),
				sites: []string{"mec-1", "mec-2-b"}, routers: []string{"r1"},
				hosts:   map[string]string{"mec-1": "h1", "mec-2-b": "a2"},
				racks:   map[string]string{"mec-1": "mec-1", "mec-2-b": "mec-2"},
				uplinks: map[string]Link{"h1": {A: Endpoint{"h1", "eth1"}, B: Endpoint{"r1", "eth2"}}},
				players: map[[2]string]string{{"agent", "mec-1"}: "a1", {"service", "mec-1"}: "s1", {"agent", "mec-2-b"}: "a2"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := findParts(Topology{Name: "x", Nodes: tt.nodes, Links: tt.links})
			if message(err) != tt.err {
				t.Fatalf("error = %q, want %q", message(err), tt.err)
			}
			opts := []cmp.Option{cmp.AllowUnexported(parts{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
			if diff := cmp.Diff(tt.want, got, opts...); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
