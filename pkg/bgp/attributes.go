package bgp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A Community is one value of RFC 1997.
type Community uint32

// GracefulShutdown marks routes that are about to go away: who receives it gives them the lowest preference (RFC 8326).
const GracefulShutdown Community = 65535 << 16

// String returns the usual form, such as 65535:0.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xffff) }

// Communities is a set of them. It compares with ==, and its zero value is the empty set.
type Communities struct{ packed string } // in order, each once, four octets each

// CommunitiesOf returns the set of its arguments.
func CommunitiesOf(members ...Community) Communities {
	sorted := slices.Compact(slices.Sorted(slices.Values(members)))
	b := make([]byte, 0, 4*len(sorted))
	for _, c := range sorted {
		b = binary.BigEndian.AppendUint32(b, uint32(c))
	}
	return Communities{string(b)}
}

// List returns the members in order.
func (c Communities) List() []Community {
	var l []Community
	for b := []byte(c.packed); len(b) >= 4; b = b[4:] {
		l = append(l, Community(binary.BigEndian.Uint32(b)))
	}
	return l
}

// String returns the members in order, separated by spaces.
func (c Communities) String() string {
	var l []string
	for _, one := range c.List() {
		l = append(l, one.String())
	}
	return strings.Join(l, " ")
}

// A Metric is a number that an announcement may carry or not. Its zero value is not carried.
type Metric struct {
	Value uint32
	Set   bool
}

// MetricOf returns a metric that is carried.
func MetricOf(value uint32) Metric { return Metric{Value: value, Set: true} }

// Attributes are what an announcement says besides its prefix. Some are only for one type of session; the speaker sends
// each where it means something. They compare with ==; the zero value is a plain announcement.
type Attributes struct {
	Communities Communities
	MED         Metric // lower is preferred
	LocalPref   Metric // iBGP only, higher is preferred; not set: 100
	Prepend     uint8  // eBGP only: how often the own AS number stands in the path beside the usual once; at most MaxPrepend
}

// MaxPrepend bounds Attributes.Prepend.
const MaxPrepend = 15

// What a de-preferred announcement says. The MED is one below the highest: some routers take that for "unreachable".
const (
	depreferredPrepend = 10
	depreferredMED     = 1<<32 - 2
)

// Depreferred returns the attributes of a route that is to be used only when there is no other: for eBGP a long AS path,
// the top MED and GRACEFUL_SHUTDOWN (RFC 8326), for iBGP LOCAL_PREF 0. An own-AS prepend is never sent on iBGP: FRR takes
// such a path for a loop, and the UPDATE for a withdrawal. The marks are communities that say more, such as one for a
// service that is announced although it is sick.
func Depreferred(marks ...Community) Attributes {
	return Attributes{
		Communities: CommunitiesOf(append(marks[:len(marks):len(marks)], GracefulShutdown)...),
		MED:         MetricOf(depreferredMED),
		LocalPref:   MetricOf(0),
		Prepend:     depreferredPrepend,
	}
}

// defaultLocalPref is what GoBGP sends on iBGP sessions when nothing else is asked for.
const defaultLocalPref = 100

// onWire returns what an UPDATE for a type of session says when a is wanted. Prepend is the length of the whole AS path there.
func (a Attributes) onWire(ibgp bool) Attributes {
	if !ibgp {
		a.LocalPref, a.Prepend = Metric{}, a.Prepend+1
		return a
	}
	a.Prepend = 0
	if !a.LocalPref.Set {
		a.LocalPref = MetricOf(defaultLocalPref)
	}
	return a
}
