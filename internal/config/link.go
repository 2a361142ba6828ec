package config

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/anyedge/anyedge/pkg/lab"
)

// maxDelay is far beyond any link on earth; more is a slip of the unit.
const maxDelay = 10 * time.Second

// A link carries IPv6 (RFC 8200, section 5), and no more than an IP packet's length field tells.
const minMTU, maxMTU = 1280, 65535

func links(list item, nodes []node) []lab.Link {
	var all []lab.Link
	used := make(places[lab.Endpoint])
	for _, it := range list.list("") {
		all = append(all, link(it, nodes, used))
	}
	return all
}

// link reads the brief form {endpoints: ["r1:eth1", "r2:eth1"]} or the extended form
// {type: veth, endpoints: [{node: r1, interface: eth1}, ...]}.
func link(it item, nodes []node, used places[lab.Endpoint]) lab.Link {
	o := it.labObject("type", "endpoints", "mtu", "vars")
	if o.has("type") {
		o.get("type").labChoice("veth")
	}
	l := lineOf(o.get("vars").labObject("delay", "jitter", "loss"))
	l.MTU = int(o.get("mtu").integer(0, minMTU, maxMTU))
	ends := o.need("endpoints", `both ends, such as ["r1:eth1", "r2:eth1"]`)
	list := ends.list("")
	if ends.present() && ends.node.Kind == yaml.SequenceNode && len(list) != 2 {
		ends.bad("a link has two endpoints, not %d", len(list))
	}
	if len(list) != 2 {
		return l
	}
	l.A, l.B = endpoint(list[0], nodes, used), endpoint(list[1], nodes, used)
	if l.A.Node != "" && l.A.Node == l.B.Node {
		ends.bad("a link joins two nodes, not %s with itself", l.A.Node)
	}
	return l
}

// lineOf reads what a link does to frames besides carrying them.
func lineOf(vars object) lab.Link {
	l := lab.Link{
		Delay:  vars.get("delay").duration(0, 0, maxDelay),
		Jitter: vars.get("jitter").duration(0, 0, maxDelay),
		Loss:   vars.get("loss").percent(),
	}
	if l.Jitter > l.Delay {
		vars.get("jitter").bad("jitter %s is more than the delay %s around which it lies", l.Jitter, l.Delay)
	}
	return l
}

// percent reads "0.1%" as 0.001.
func (it item) percent() float64 {
	text, ok := it.text("a share of frames, such as 0.1%")
	if !ok {
		return 0
	}
	digits, ok := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(share >= 0 && share <= 100) {
		it.bad("must be a share of frames from 0%% to 100%%, such as 0.1%%, not %q", text)
		return 0
	}
	return share / 100
}

func endpoint(it item, nodes []node, used places[lab.Endpoint]) lab.Endpoint {
	e, nodeAt, ifaceAt := readEndpoint(it)
	if e.Node == "" || e.Interface == "" {
		return lab.Endpoint{}
	}
	n, ok := findNode(nodes, e.Node)
	switch {
	case !ok:
		nodeAt.bad("%q is no node of this file", e.Node)
	case n.Host != "":
		nodeAt.bad("node %s has no network of its own: write %s, whose network it shares", e.Node, n.Host)
	}
	checkInterface(ifaceAt, e.Interface)
	if first, ok := used[e]; ok {
		it.bad("interface %s of node %s has a link already, on line %d", e.Interface, e.Node, first.line())
		return e
	}
	used[e] = it
	return e
}

func readEndpoint(it item) (e lab.Endpoint, nodeAt, ifaceAt item) {
	if it.present() && it.node.Kind == yaml.MappingNode {
		o := it.labObject("node", "interface")
		nodeAt = o.need("node", "the node's name")
		ifaceAt = o.need("interface", "the interface's name, such as eth1")
		return lab.Endpoint{Node: nodeAt.str("a node's name"), Interface: ifaceAt.str("an interface name")}, nodeAt, ifaceAt
	}
	text := it.str("NODE:INTERFACE")
	node, iface, ok := strings.Cut(text, ":")
	if text != "" && (!ok || node == "" || iface == "") {
		it.bad("must be NODE:INTERFACE, such as r1:eth1, not %q", text)
		return lab.Endpoint{}, it, it
	}
	return lab.Endpoint{Node: node, Interface: iface}, it, it
}

func checkInterface(it item, name string) {
	switch {
	case !isIfname(name):
		it.bad("must be an interface name of at most 15 letters, digits, dots, hyphens and underscores, not %q", name)
	case name == "lo":
		it.bad("lo is the loopback interface: write another, such as eth1")
	case name == "eth0":
		it.bad("eth0 is containerlab's management interface: begin with eth1")
	}
}
