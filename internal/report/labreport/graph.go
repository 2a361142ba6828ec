package labreport

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// graphStyle gives an SVG of its own the colours that a page gives its pictures.
const graphStyle = `<style>
svg { --card: #ffffff; --ink: #1c2330; --soft: #5b6678; --line: #aab3c2; --grid: #aab3c2; --page: #f6f7f9; background: #f6f7f9; font-family: "Liberation Sans", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --card: #1a202a; --ink: #e7ebf2; --soft: #9aa6b8; --line: #4a566a; --grid: #4a566a; --page: #11151c; background: #11151c; } }
</style>`

// WriteGraph draws a topology as an SVG file: nodes by distance from the client, links with their delay, pods counted.
func WriteGraph(w io.Writer, t lab.Topology) error {
	n, ok := newNetwork(t)
	if !ok {
		return fmt.Errorf("lab %s: no node has the label %s: client, from which a picture begins", t.Name, lab.LabelRole)
	}
	if len(n.place) == 0 {
		return errors.New("nothing to draw")
	}
	var b strings.Builder
	b.WriteString(graphStyle)
	n.drawLinks(&b)
	n.drawDelays(&b)
	for _, node := range n.drawn() {
		n.drawNode(&b, node, nil)
	}
	width, height := n.size()
	p := report.Drawn(t.Name, fmt.Sprintf("%d nodes, %d links.", len(t.Nodes), len(t.Links)), width, height, b.String())
	_, err := fmt.Fprintln(w, p.Markup())
	return err
}
