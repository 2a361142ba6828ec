package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

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
	var families [batchWidth]steering.Family
	var pickers [batchWidth]*steering.Picker
	found := 0
	for i := range n {
		query, _ := b.query(i)
		q := &b.question
		if len(query) <= headerSize || !q.readName(query[headerSize:]) {
			continue
		}
		if c := s.wire[string(q.name[:q.size])]; c != nil && c.cell != nil {
			cells[found], families[found] = c.cell, familyOf(query[headerSize+q.size:])
			found++
		}
	}
	for i, c := range cells[:found] {
		pickers[i] = c.load().pickers[families[i]]
	}
	for _, p := range pickers[:found] {
		b.warmed += p.Touch()
	}
}

// familyOf is the one that is picked from for a query type, which is what is left of a query begins with: IPv6 but for type A.
func familyOf(rest []byte) steering.Family {
	if len(rest) >= 2 && binary.BigEndian.Uint16(rest) == dns.TypeA {
		return steering.IPv4
	}
	return steering.IPv6
}
