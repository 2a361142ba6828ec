package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// aClaimant reads NAME AGE [FAMILIES] [held=A,B] [asked=A] [pool=P]; families are 4 and 6, in order; 6 by default.
func aClaimant(t testing.TB, text string) claimant {
	t.Helper()
	words := strings.Fields(text)
	var age int
	if _, err := fmt.Sscan(words[1], &age); err != nil {
		t.Fatal(err)
	}
	c := claimant{key: key{"shop", words[0]}, created: time.Unix(1e9-int64(age), 0), families: []corev1.IPFamily{corev1.IPv6Protocol}}
	for _, word := range words[2:] {
		k, v, named := strings.Cut(word, "=")
		var addresses []netip.Addr
		for _, a := range strings.Split(v, ",") {
			if addr, err := netip.ParseAddr(a); err == nil {
				addresses = append(addresses, addr)
			}
		}
		switch {
		case !named:
			c.families = nil
			for _, f := range word {
				c.families = append(c.families, map[rune]corev1.IPFamily{'4': corev1.IPv4Protocol, '6': corev1.IPv6Protocol}[f])
			}
		case k == "held":
			c.held = addresses
		case k == "asked":
			c.asked = addresses
		case k == "pool":
			c.pool = v
		}
	}
	return c
}

func prefixesOf(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// text says what a claimant has: its addresses, those that it had before and has no more after a minus, and the reasons.
func (g *grant) text() string {
	var words []string
	for _, one := range g.final {
		words = append(words, one.address.String()+" ("+one.from+")")
	}
	for _, one := range g.kept {
		if !hasAddress(g.final, one.address) {
			words = append(words, "-"+one.address.String())
		}
	}
	for _, p := range g.trouble {
		words = append(words, p.reason)
	}
	return strings.Join(words, " ")
}

func hasAddress(all []given, a netip.Addr) bool {
	for _, one := range all {
		if one.address == a {
			return true
		}
	}
	return false
}

func TestAssign(t *testing.T) {
	t.Parallel()
	reserved := map[netip.Addr]string{netip.MustParseAddr("fd00::9"): "a VIP of service dns of an agent's file"}
	both := []Pool{{Name: "edge", Prefixes: prefixesOf("fd00::/120", "192.0.2.0/24")}, {Name: "own", Prefixes: prefixesOf("fd01::/120"), Asked: true}}
	tiny := []Pool{{Name: "tiny", Prefixes: prefixesOf("fd00::4/126")}, {Name: "one", Prefixes: prefixesOf("fd02::1/128"), Asked: true}}
	for _, tt := range []struct {
		name  string
		pools []Pool
		in    []string
		want  map[string]string
	}{
		{"held stays", both, []string{"a 9 held=fd00::5", "b 8 46 held=fd00::6,192.0.2.6"}, map[string]string{
			"a": "fd00::5 (pool edge)", "b": "192.0.2.6 (pool edge) fd00::6 (pool edge)",
		}},
		{"held of an older one", both, []string{"a 8 held=fd00::5", "b 9 held=fd00::5"}, map[string]string{
			"a": "fd00::80 (pool edge) AddressTaken", "b": "fd00::5 (pool edge)",
		}},
		{"held and asked for by an older one", both, []string{"a 8 held=fd00::5", "b 9 asked=fd00::5"}, map[string]string{
			"a": "fd00::5 (pool edge)", "b": "AddressTaken",
		}},
		{"asked for by two", both, []string{"a 8 asked=fd00::5", "b 9 asked=fd00::5"}, map[string]string{
			"a": "AddressTaken", "b": "fd00::5 (pool edge, asked for)",
		}},
		{"asked for instead", both, []string{"a 9 held=fd00::5 asked=fd00::6"}, map[string]string{
			"a": "fd00::6 (pool edge, asked for) -fd00::5",
		}},
		{"asked for what it has", both, []string{"a 9 held=fd00::6 asked=fd00::6"}, map[string]string{"a": "fd00::6 (pool edge, asked for)"}},
		{"asked for in vain keeps what it has", both, []string{"a 9 held=fd00::5 asked=fd00::9"}, map[string]string{
			"a": "fd00::5 (pool edge) AddressReserved",
		}},
		{"asked for of a file's", both, []string{"a 9 asked=fd00::9"}, map[string]string{"a": "AddressReserved"}},
		{"held, and a file's since", both, []string{"a 9 held=fd00::9"}, map[string]string{"a": "fd00::80 (pool edge) AddressReserved"}},
		{"asked for of no pool", both, []string{"a 9 asked=fd07::1"}, map[string]string{"a": "AddressNotInPool"}},
		{"asked for of the other family", both, []string{"a 9 asked=192.0.2.1"}, map[string]string{"a": "fd00::80 (pool edge) BadAddress"}},
		{"asked for of a pool for who asks", both, []string{"a 9 asked=fd01::7"}, map[string]string{"a": "fd01::7 (pool own, asked for)"}},
		{"asked for the pool", both, []string{"a 9 pool=own", "b 8 46 pool=own", "c 7 pool=none"}, map[string]string{
			"a": "fd01::80 (pool own)", "b": "fd01::5f (pool own) NoPool", "c": "NoPool",
		}},
		{"pool removed", both, []string{"a 9 held=fd07::1", "b 8 held=fd07::2 asked=fd00::6"}, map[string]string{
			"a": "fd07::1 (its status, in no pool) AddressNotInPool", "b": "fd00::6 (pool edge, asked for) -fd07::2 AddressNotInPool",
		}},
		{"family dropped", both, []string{"a 9 4 held=fd00::5,192.0.2.5"}, map[string]string{"a": "192.0.2.5 (pool edge)"}},
		{"family added", both, []string{"a 9 64 held=fd00::5"}, map[string]string{"a": "fd00::5 (pool edge) 192.0.2.240 (pool edge)"}},
		{"two of a family", both, []string{"a 9 held=fd00::5,fd00::6"}, map[string]string{"a": "fd00::5 (pool edge)"}},
		{"exhausted, never the prefix itself", tiny, []string{"a 9", "b 8", "c 7", "d 6"}, map[string]string{
			"a": "fd00::6 (pool tiny)", "b": "fd00::7 (pool tiny)", "c": "fd00::5 (pool tiny)", "d": "PoolExhausted",
		}},
		{"one address", tiny, []string{"a 9 pool=one", "b 8 pool=one"}, map[string]string{"a": "fd02::1 (pool one)", "b": "PoolExhausted"}},
		{"no pools", nil, []string{"a 9"}, map[string]string{"a": "NoPool"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []claimant
			for _, text := range tt.in {
				all = append(all, aClaimant(t, text))
			}
			for range 10 {
				rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				got := make(map[string]string)
				for k, g := range assign(tt.pools, reserved, all) {
					got[k.name] = g.text()
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Fatalf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// What was given stays, whoever comes and goes, in whatever order; nobody has what another has; and who lost its status gets
// most of the time what it had.
func TestAssignIsStable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pools := []Pool{{Name: "edge", Prefixes: prefixesOf("fd00::/118", "192.0.2.0/24")}}
	all := make(map[string]claimant)
	for round := range 300 {
		if name := fmt.Sprintf("s%d", r.IntN(200)); r.IntN(3) > 0 {
			if _, there := all[name]; !there {
				all[name] = aClaimant(t, fmt.Sprintf("%s %d 64", name, 1000-round))
			}
		} else {
			delete(all, name)
		}
		var list []claimant
		for _, c := range all {
			list = append(list, c)
		}
		grants := assign(pools, nil, list)
		owners := make(map[netip.Addr]string)
		for k, g := range grants {
			c := all[k.name]
			var now []netip.Addr
			for _, one := range g.final {
				if other := owners[one.address]; other != "" {
					t.Fatalf("%s and %s have %s", other, k.name, one.address)
				}
				owners[one.address] = k.name
				now = append(now, one.address)
			}
			if c.held != nil && !cmp.Equal(c.held, now, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
				t.Fatalf("%s had %v and has %v", k.name, c.held, now)
			}
			if len(now) != 2 || len(g.trouble) > 0 {
				t.Fatalf("%s has %v, %v", k.name, now, g.trouble)
			}
			c.held = now
			all[k.name] = c
		}
	}
	var forgot []claimant
	for _, c := range all {
		c.held = nil
		forgot = append(forgot, c)
	}
	same := 0
	for k, g := range assign(pools, nil, forgot) {
		if hasAddress(g.final, all[k.name].held[0]) {
			same++
		}
	}
	if same*10 < len(all)*8 {
		t.Errorf("%d of %d have the IPv6 address of before", same, len(all))
	}
}

func FuzzClaimant(f *testing.F) {
	for _, s := range []string{"fd00::1,192.0.2.1", "", ",, ", "fe80::1%eth0", "::ffff:192.0.2.1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, trouble := claimantOf(&service{asking: asking{meta: meta{notes: notes{noteAddress: text}}}, balanced: &balanced{}})
		for _, a := range c.asked {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
				t.Errorf("%q: took %v", text, a)
			}
		}
		if len(c.asked)+len(trouble) > len(text) {
			t.Errorf("%q: %d addresses and %d problems", text, len(c.asked), len(trouble))
		}
	})
}
