package labreport

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/pkg/lab"
)

func TestWriteGraph(t *testing.T) {
	node := func(name string) lab.Node { return lab.Node{Name: name, Labels: map[string]string{}} }
	client := node("client<script>")
	client.Labels[lab.LabelRole] = "client"
	topology := lab.Topology{
		Name: "x", Nodes: []lab.Node{client, node("r0"), node("r1")},
		Links: []lab.Link{
			{A: lab.Endpoint{Node: client.Name, Interface: "eth1"}, B: lab.Endpoint{Node: "r0", Interface: "eth1"}},
			{A: lab.Endpoint{Node: "r0", Interface: "eth2"}, B: lab.Endpoint{Node: "r1", Interface: "eth1"}, Delay: 6e6},
		},
	}
	var svg strings.Builder
	if err := WriteGraph(&svg, topology); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<title>x</title>", "3 nodes, 2 links.", ">r0</text>", "client&lt;scr"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("%q is missing in %s", want, svg.String())
		}
	}
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
	if err := WriteGraph(io.Discard, lab.Topology{Name: "y"}); err == nil {
		t.Error("no error without a client")
	}
}
