package dnsserver

import "github.com/anyedge/anyedge/pkg/steering"

// warmFrom is how many queries must have come together for warm to pay.
const warmFrom = 4

// warm touches what the answers to the first n queries of a batch will be made of. It changes no answer. What is known of a name is
// spread over memory that no cache holds when there are ten thousand names, each part found by the one before: who answers query by query
// waits for memory a third of the time. In loops that do nothing else, the processor has the loads of many queries under way together.
func (s *snapshot) warm(b *batch, n int) {
	if n < warmFrom {
		return
	}
	var cells [batchWidth]*cell
	var pickers [batchWidth]*steering.Picker
	found := 0
	for i := range n {
		query, _ := b.query(i)
		if len(query) <= headerSize || !b.question.readName(query[headerSize:]) {
			continue
		}
		if c := s.wire[string(b.question.name[:b.question.size])]; c != nil && c.cell != nil {
			cells[found] = c.cell
			found++
		}
	}
	for i, c := range cells[:found] {
		pickers[i] = c.load().pickers[steering.IPv6]
	}
	for _, p := range pickers[:found] {
		b.warmed += p.Touch()
	}
}
