package dnsserver

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// RateLimit bounds what one address and the networks around it are answered over UDP, where an address may be forged.
type RateLimit struct {
	Rate   int // answers per second to one address, of 512 octets at most: longer ones count as several; 0: no limit
	Burst  int // answers at once, after a rest; at least 1
	Slip   int // of the queries over the limit each such one is told to come back with a cookie or over TCP; 0: none
	DryRun bool
	// MaxSize is how many octets an answer has at most; who may have longer ones is told as with Slip. 0: any.
	MaxSize int
	Exempt  []netip.Prefix
}

// DefaultRateLimit is far more than a resolver asks that keeps what it is told for the TTL, and far less than an attack needs.
var DefaultRateLimit = RateLimit{Rate: 1000, Burst: 2500, Slip: 2}

// answerUnit is how many octets count as one answer: what every client takes (RFC 1035 section 4.2.1).
const answerUnit = dns.MinMsgSize

// heaviest is as how many an answer counts at most.
const heaviest = 1 + (udpPayload-1)/answerUnit

// light is how long an answer may be that counts as one, and is for everybody.
func (r *RateLimit) light() int {
	switch {
	case r.Rate <= 0:
		return udpPayload
	case r.MaxSize > 0:
		return min(r.MaxSize, answerUnit)
	default:
		return answerUnit
	}
}

// A level is a size of network with a limit of its own, as a multiple of an address's: Knot DNS's.
type level struct {
	bits  int
	times uint64
}

var (
	levels6 = [...]level{{128, 1}, {64, 2}, {56, 3}, {48, 4}, {32, 64}}
	levels4 = [...]level{{32, 1}, {24, 32}, {20, 256}, {18, 768}}
)

const (
	maxLevels = 5
	tick      = 64 * time.Nanosecond

	bucketSlots = 8 // a cache line
	buckets     = 1 << 16

	// A slot is a tag of its network and a time in ticks, which wraps after 13 days.
	timeBits = 44
	timeMask = 1<<timeBits - 1

	longestRest = 1 << (timeBits - 4) // in ticks: what a burst is saved up in
	maxLoops    = 1024
)

// A limiter counts in slots that hold, for a network, until when its past queries have paid for: each query moves that time by its cost,
// and one that would move it too far ahead is over the limit (GCRA, ITU-T I.371). A slot whose time has come says as much as an empty
// one, so nothing needs to be cleared. All loops share the slots: which loop gets a query hangs on the client's port. They take no lock:
// a slot is one word. Its memory is fixed; when a bucket is full of slots that matter, the one that matters least gives way.
type limiter struct {
	exempt []netip.Prefix
	keys   [maxLevels + 1]uint64 // nobody shall find addresses that share slots
	cost   [2][maxLevels]uint64  // in ticks, of IPv6 and IPv4
	depth  uint64                // how far ahead a time may be moved
	far    uint64                // how far ahead it can be, when several loops move it at once; beyond, it is of long ago
	slots  [][bucketSlots]atomic.Uint64
}

// newLimiter returns nil where there is no limit.
func newLimiter(r RateLimit) *limiter {
	if r.Rate <= 0 {
		return nil
	}
	one := max(uint64(time.Second/tick)/uint64(r.Rate), 1)
	depth := min(one*uint64(max(r.Burst, 1)), longestRest)
	l := &limiter{exempt: r.Exempt, depth: depth, far: depth + maxLoops*heaviest*one, slots: make([][bucketSlots]atomic.Uint64, buckets)}
	for i := range l.keys {
		l.keys[i] = rand.Uint64()
	}
	for family, levels := range [][]level{levels6[:], levels4[:]} {
		for i, v := range levels {
			l.cost[family][i] = max(one/v.times, 1)
		}
	}
	return l
}

// over tells whether a query from a is one too much at a moment; if not, it counts.
func (l *limiter) over(a netip.Addr, now uint64) bool {
	if l.exempts(a) {
		return false
	}
	var at [maxLevels]account
	n := l.places(&at, a, now)
	for i := range n {
		if at[i].ahead+at[i].cost > l.depth {
			return true
		}
	}
	for i := range n {
		l.pay(&at[i], now)
	}
	return false
}

func (l *limiter) exempts(a netip.Addr) bool {
	for _, p := range l.exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// charge counts an answer so many times more, limit or not.
func (l *limiter) charge(a netip.Addr, now, times uint64) {
	var at [maxLevels]account
	for i := range l.places(&at, a, now) {
		at[i].cost *= times
		l.pay(&at[i], now)
	}
}

// places finds where the networks around an address are counted.
func (l *limiter) places(at *[maxLevels]account, a netip.Addr, now uint64) int {
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if a.Is4() {
		for i, v := range levels4 {
			l.find(&at[i], l.hash(lo&0xffffffff>>(32-v.bits), l.keys[i]), now)
			at[i].cost = l.cost[1][i]
		}
		return len(levels4)
	}
	l.find(&at[0], l.hash(hi, l.keys[0]^lo), now)
	at[0].cost = l.cost[0][0]
	for i := 1; i < len(levels6); i++ {
		l.find(&at[i], l.hash(hi>>(64-levels6[i].bits), l.keys[i]), now)
		at[i].cost = l.cost[0][i]
	}
	return len(levels6)
}

// hash mixes by multiplication. Whoever forges addresses does not see what comes of it, so this is enough against guessing the keys.
func (l *limiter) hash(network, key uint64) uint64 {
	hi, lo := bits.Mul64(network^l.keys[maxLevels], key|1)
	hi, lo = bits.Mul64(hi^lo^key, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

// An account is a slot that is a network's, or may become it.
type account struct {
	slot  *atomic.Uint64
	seen  uint64 // in slot
	tag   uint64 // in the place that it has in a slot
	ahead uint64 // of now
	cost  uint64
}

// find looks where the network most likely is before it looks at the whole bucket.
func (l *limiter) find(p *account, hash, now uint64) {
	bucket := &l.slots[hash%buckets]
	p.slot, p.tag = &bucket[hash/buckets%bucketSlots], hash&^timeMask
	if p.seen = p.slot.Load(); p.seen&^timeMask == p.tag {
		p.ahead = l.ahead(p.seen, now)
		return
	}
	least := l.ahead(p.seen, now)
	for i := range bucket {
		v := bucket[i].Load()
		ahead := l.ahead(v, now)
		if v&^timeMask == p.tag {
			p.slot, p.seen, p.ahead = &bucket[i], v, ahead
			return
		}
		if ahead < least {
			p.slot, p.seen, least = &bucket[i], v, ahead
		}
	}
	p.ahead = 0 // what it takes the place of is another's
}

// ahead is how far in the future a slot's time is; 0 if it has come.
func (l *limiter) ahead(slot, now uint64) uint64 {
	ahead := (slot - now) & timeMask
	if ahead > l.far {
		return 0
	}
	return ahead
}

// pay moves the time of an account. Of two loops that pay for the same network at once, one does it again.
func (l *limiter) pay(p *account, now uint64) {
	for range 4 {
		if p.slot.CompareAndSwap(p.seen, p.tag|(now+p.ahead+p.cost)&timeMask) {
			return
		}
		p.seen = p.slot.Load()
		if p.seen&^timeMask != p.tag {
			return // another took the place
		}
		p.ahead = l.ahead(p.seen, now)
	}
}
