package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGraph(t *testing.T) {
	ends := func(a, b string) Link {
		return Link{A: Endpoint{a, "eth1"}, B: Endpoint{b, "eth2"}}
	}
	slow := ends("r0", "r1")
	slow.Delay, slow.Jitter, slow.Loss = 6*time.Millisecond, time.Millisecond, 0.001
	topology := Topology{
		Nodes: []Node{
			client,
			{Name: "r0", Cmd: []string{"edgelab", "router", "/r.yaml"}},
			{Name: "r1", Cmd: []string{"edgelab", "router", "/r.yaml"}},
			{Name: "r2", Cmd: []string{"edgelab", "router", "/r.yaml"}},
			{Name: "h1", Cmd: []string{"edgelab", "node", "/n.yaml"}},
			{Name: "h1-agent", Host: "h1", Cmd: []string{"edgeagent", "--config", "/a.yaml"}},
			{Name: "alone", Cmd: []string{"edgelab", "node", "/n.yaml"}},
		},
		Links: []Link{ends("client", "r0"), slow, ends("r2", "r0"), ends("r1", "r2"), ends("h1", "r1")},
	}
	want := `client
└─ r0: edgelab router
   ├─ r1 (6ms, ± 1ms, 0.1% lost): edgelab router
   │  └─ h1: edgeagent, edgelab node
   └─ r2: edgelab router
alone: edgelab node
and r1:eth1 - r2:eth2
`
	var got strings.Builder
	if err := Graph(topology, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("graph (-want +got):\n%s", diff)
	}
}
