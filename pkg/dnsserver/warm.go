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
// waits for memory most of the time. In short loops that each go one part further, for all queries, the processor has the loads of many
// queries under way together.
func (s *snapshot) warm(b *batch, n int) {
	if n < warmFrom || len(s.wire.slots) == 0 {
		return
	}
	var w [batchWidth]struct {
		hash    uint64
		family  steering.Family
		node    *node
		cell    *cell
		service *service
	}
	named, found := 0, 0
	for i := range n {
		query, _ := b.query(i)
		if q := &b.question; len(query) > headerSize && q.readName(query[headerSize:]) {
			w[named].hash, w[named].family = s.wire.hash(q.name[:q.size]), familyAsked(query[headerSize+q.size:])
			named++
		}
	}
	for i := range named {
		w[i].node = s.wire.guess(w[i].hash)
	}
	for _, one := range w[:named] {
		if n := one.node; n != nil && n.cell != nil {
			w[found].family, w[found].cell = one.family, n.cell
			b.warmed += int(n.wire[0])
			found++
		}
	}
	for i := range found {
		w[i].service = w[i].cell.load()
	}
	var pickers [batchWidth]*steering.Picker
	for i := range found {
		pickers[i] = w[i].service.pickers[w[i].family]
	}
	for _, p := range pickers[:found] {
		b.warmed += p.Size()
	}
	for _, p := range pickers[:found] {
		b.warmed += p.Touch()
	}
	for _, p := range pickers[:found] {
		b.warmed += p.Fetch()
	}
}

// familyAsked is the one that is picked from for a query type, which is what is left of a query begins with: IPv6 but for type A.
func familyAsked(rest []byte) steering.Family {
	if len(rest) >= 2 && binary.BigEndian.Uint16(rest) == dns.TypeA {
		return steering.IPv4
	}
	return steering.IPv6
}
