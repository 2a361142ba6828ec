package labreport

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// A network is a topology as a picture needs it: nodes with a network of their own, by distance from the client.
type network struct {
	client string
	sites  map[string]string                 // site -> host
	links  map[string][]neighbor             // in the file's order
	hops   map[string]int                    // from the client
	leaves map[string]int                    // host -> nodes behind it that are left out: pods
	place  map[string]struct{ x, y float64 } // of what is drawn
}

type neighbor struct {
	node  string
	delay time.Duration
}

// newNetwork reads the topology and lays it out; false when there is no client to begin with.
func newNetwork(t lab.Topology) (network, bool) {
	n := network{
		sites: map[string]string{}, links: map[string][]neighbor{}, hops: map[string]int{},
		leaves: map[string]int{}, place: map[string]struct{ x, y float64 }{},
	}
	busy := map[string]bool{} // hosts that play a part
	for _, node := range t.Nodes {
		host := cmp.Or(node.Host, node.Name)
		if node.Labels[lab.LabelRole] == "client" {
			n.client = host
		}
		if site := cmp.Or(node.Labels[lab.LabelHost], node.Labels[lab.LabelSite]); site != "" {
			n.sites[site] = host
			busy[host] = true
		}
	}
	for _, l := range t.Links {
		n.links[l.A.Node] = append(n.links[l.A.Node], neighbor{l.B.Node, l.Delay})
		n.links[l.B.Node] = append(n.links[l.B.Node], neighbor{l.A.Node, l.Delay})
	}
	if n.client == "" {
		return n, false
	}
	order := n.reach()
	n.layOut(slices.DeleteFunc(order, func(node string) bool {
		leaf := node != n.client && !busy[node] && len(n.links[node]) == 1
		if leaf {
			n.leaves[n.links[node][0].node]++
		}
		return leaf
	}))
	return n, true
}

// reach finds the distance of every node from the client and returns the nodes, near ones first.
func (n network) reach() []string {
	n.hops[n.client] = 0
	order := []string{n.client}
	for i := 0; i < len(order); i++ {
		for _, next := range n.links[order[i]] {
			if _, known := n.hops[next.node]; !known {
				n.hops[next.node] = n.hops[order[i]] + 1
				order = append(order, next.node)
			}
		}
	}
	return order
}

// layOut puts nodes into columns by their distance, each at the height of those it hangs on where it can be.
func (n network) layOut(order []string) {
	next := map[int]float64{} // free height of each column
	for _, node := range order {
		column := n.hops[node]
		height, above := 0.0, 0
		for _, l := range n.links[node] {
			if p, placed := n.place[l.node]; placed && n.hops[l.node] < column {
				height, above = height+p.y, above+1
			}
		}
		if above > 0 {
			height /= float64(above)
		}
		height = max(height, next[column])
		n.place[node] = struct{ x, y float64 }{float64(column), height}
		next[column] = height + 1
	}
}

// path returns a path of the fewest hops from the client to a site's host, with both; nil without one.
func (n network) path(site string) []string {
	node, ok := n.sites[site]
	if _, reached := n.hops[node]; !ok || !reached {
		return nil
	}
	path := []string{node}
	for node != n.client {
		for _, l := range n.links[node] {
			if n.hops[l.node] == n.hops[node]-1 {
				node = l.node
				break
			}
		}
		path = append(path, node)
	}
	slices.Reverse(path)
	return path
}

// Sizes of the picture, in its own units.
const (
	nodeWidth, nodeHeight = 92.0, 40.0
	columnStep, rowStep   = 132.0, 74.0
	border                = 14.0
)

func (n network) at(node string) (x, y float64) {
	p := n.place[node]
	return border + nodeWidth/2 + p.x*columnStep, border + nodeHeight/2 + p.y*rowStep
}

// paths shows the topology with the client's way before and after the first run's fault.
func paths(r lab.Result, t lab.Topology, colors map[string]report.Color) report.Section {
	s := report.Section{Title: "The client's way before and after"}
	n, ok := newNetwork(t)
	if !ok || len(n.place) < 2 {
		return s
	}
	m := r.Runs[0]
	before, after := n.path(m.SiteFrom), n.path(m.SiteTo)
	s.Text = fmt.Sprintf("The first run's sites. The ways are those of the fewest hops, not measured; numbers on links are their delay one way. %s in all.",
		count(len(t.Nodes), "node"))
	desc := fmt.Sprintf("Before: %s. After: %s.", strings.Join(before, ", "), strings.Join(after, ", "))
	width, height := n.size()
	p := report.Drawn("Topology", desc, width, height, n.draw(m, before, after, colors))
	p.Legend = []report.Key{{Name: "before: " + m.SiteFrom, Color: colors[m.SiteFrom]}, {Name: "after: " + m.SiteTo + " (dashed)", Color: colors[m.SiteTo]}, {Name: m.Fault, Color: report.Bad}}
	s.Pictures = []report.Picture{p}
	return s
}

func (n network) size() (width, height float64) {
	for node := range n.place {
		x, y := n.at(node)
		width, height = max(width, x), max(height, y)
	}
	return max(700, width+nodeWidth/2+border), height + nodeHeight/2 + border + 8
}

func (n network) draw(m lab.Measured, before, after []string, colors map[string]report.Color) string {
	var b strings.Builder
	n.drawLinks(&b)
	n.drawPath(&b, before, -3, colors[m.SiteFrom], "")
	n.drawPath(&b, after, 3, colors[m.SiteTo], "9 5")
	n.drawDelays(&b)
	nodes := n.drawn()
	for _, node := range nodes {
		n.drawNode(&b, node, colors)
	}
	if len(before) > 0 {
		x, y := n.at(before[len(before)-1])
		x, y = x+nodeWidth/2, y-nodeHeight/2
		fmt.Fprintf(&b, `<path d="M%.1f %.1fl12 12m0 -12l-12 12" style="fill:none;stroke:%s;stroke-width:4;stroke-linecap:round"/>`, x-6, y-6, report.Bad.CSS())
	}
	return b.String()
}

// drawn returns the nodes of the picture in a stable order.
func (n network) drawn() []string {
	var nodes []string
	for node := range n.place {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	return nodes
}

// eachLink calls use once for every link between nodes that are drawn.
func (n network) eachLink(use func(a, b string, delay time.Duration)) {
	for _, a := range n.drawn() {
		for _, l := range n.links[a] {
			if _, placed := n.place[l.node]; placed && a < l.node {
				use(a, l.node, l.delay)
			}
		}
	}
}

func (n network) drawLinks(b *strings.Builder) {
	n.eachLink(func(from, to string, _ time.Duration) {
		x0, y0 := n.at(from)
		x1, y1 := n.at(to)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" style="stroke:var(--line);stroke-width:2"/>`, x0, y0, x1, y1)
	})
}

func (n network) drawDelays(b *strings.Builder) {
	n.eachLink(func(from, to string, delay time.Duration) {
		if delay == 0 {
			return
		}
		x0, y0 := n.at(from)
		x1, y1 := n.at(to)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" style="fill:var(--soft);font-size:11px;text-anchor:middle;paint-order:stroke;stroke:var(--card);stroke-width:4px">%s</text>`,
			(x0+x1)/2, (y0+y1)/2-9, report.Escape(delay.String()))
	})
}

// drawPath draws a way beside the middle of its links.
func (n network) drawPath(b *strings.Builder, path []string, aside float64, color report.Color, dashes string) {
	if len(path) < 2 {
		return
	}
	var points []string
	for _, node := range path {
		x, y := n.at(node)
		points = append(points, fmt.Sprintf("%.1f,%.1f", x-aside, y+aside))
	}
	fmt.Fprintf(b, `<polyline points="%s" style="fill:none;stroke:%s;stroke-width:4;stroke-linejoin:round;stroke-dasharray:%s"/>`,
		strings.Join(points, " "), color.CSS(), cmp.Or(dashes, "none"))
}

func (n network) drawNode(b *strings.Builder, node string, colors map[string]report.Color) {
	x, y := n.at(node)
	outline, below := report.Soft.CSS(), ""
	for site, host := range n.sites {
		if c, ok := colors[site]; ok && host == node {
			outline = c.CSS()
		}
	}
	if pods := n.leaves[node]; pods > 0 {
		below = count(pods, "pod")
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.0f" height="%.0f" rx="8" style="fill:var(--card);stroke:%s;stroke-width:1.5"/>`,
		x-nodeWidth/2, y-nodeHeight/2, nodeWidth, nodeHeight, outline)
	baseline := y + 4.5
	if below != "" {
		baseline = y - 2
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" style="fill:var(--soft);font-size:10.5px;text-anchor:middle">%s</text>`, x, y+13, below)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" style="fill:var(--ink);font-size:13px;text-anchor:middle">%s</text>`, x, baseline, report.Escape(short(node)))
}

// short cuts a name to what fits into its node.
func short(name string) string {
	const fits = 12
	if r := []rune(name); len(r) > fits {
		return string(r[:fits-1]) + "…"
	}
	return name
}
