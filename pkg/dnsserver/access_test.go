package dnsserver

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/steering"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func TestClasses(t *testing.T) {
	t.Parallel()
	all := &Access{
		ACL:     ACL{Allow: prefixes("2001:db8::/32", "10.0.0.0/8"), Deny: prefixes("2001:db8:bad::/48")},
		Zones:   map[string]ACL{"b.": {Deny: prefixes("10.1.0.0/16")}, "a.": {Allow: prefixes("2001:db8:1::/48")}},
		Views:   []View{{Name: "inside", Clients: prefixes("2001:db8:1::/48", "10.0.0.0/8")}, {Name: "outside", Clients: prefixes("::/0")}},
		Explain: prefixes("2001:db8:1:1::/64"),
	}
	for _, tt := range []struct {
		source *Access
		client string
		want   class
	}{
		{nil, "::1", class{view: noView}},
		{&Access{ACL: ACL{Deny: prefixes("10.0.0.0/8")}}, "::1", class{view: noView}},
		{&Access{ACL: ACL{Deny: prefixes("10.0.0.0/8")}}, "10.1.2.3", class{view: noView, refused: true}},
		{&Access{ACL: ACL{Deny: prefixes("10.0.0.0/8")}}, "::ffff:10.1.2.3", class{view: noView, refused: true}},
		{&Access{ACL: ACL{Deny: prefixes("10.0.0.0/8"), Allow: prefixes("10.1.0.0/16")}}, "10.1.2.3", class{view: noView}},
		{&Access{ACL: ACL{Deny: prefixes("10.0.0.0/8"), Allow: prefixes("10.1.0.0/16")}}, "::1", class{view: noView, refused: true}},
		{&Access{ACL: ACL{Allow: prefixes("fe80::/10")}}, "fe80::1%eth0", class{view: noView}},
		{all, "2001:db8:1:1::1", class{view: 0, explain: true, zones: ".."}},
		{all, "2001:db8:1:2::1", class{view: 0, zones: ".."}},
		{all, "2001:db8:2::1", class{view: 1, zones: "x."}},
		{all, "2001:db8:bad::1", class{view: 1, refused: true, zones: "x."}},
		{all, "2001:db9::1", class{view: 1, refused: true, zones: "x."}},
		{all, "10.1.2.3", class{view: 0, zones: "xx"}},
		{all, "10.2.2.3", class{view: 0, zones: "x."}},
		{all, "192.0.2.1", class{view: noView, refused: true, zones: "x."}},
	} {
		got := *compileAccess(tt.source, nil).of(netip.MustParseAddr(tt.client))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(class{})); diff != "" {
			t.Errorf("%+v: %s (-want +got)\n%s", tt.source, tt.client, diff)
		}
	}
}

// What was compiled is taken over as long as it says the same.
func TestAccessIsKept(t *testing.T) {
	t.Parallel()
	make := func() *Access { return &Access{ACL: ACL{Deny: prefixes("10.0.0.0/8")}} }
	first := compileAccess(make(), nil)
	if compileAccess(make(), first) != first {
		t.Error("compiled again")
	}
	if compileAccess(&Access{}, first) != nil {
		t.Error("no access at all is something")
	}
}

func TestViewSees(t *testing.T) {
	t.Parallel()
	s := testService("api.edge.example.", 2, "2001:db8:1::10 up", "2001:db8:2::10 down", "10.1.0.10 up")
	for _, tt := range []struct {
		view View
		want string
	}{
		{View{}, "rr [2001:db8:1::10 2001:db8:2::10 10.1.0.10]"},
		{View{Services: []string{"edge.example."}}, "rr [2001:db8:1::10 2001:db8:2::10 10.1.0.10]"},
		{View{Services: []string{"pi.edge.example."}}, "nothing"},
		{View{Services: []string{}}, "nothing"},
		{View{Endpoints: prefixes("2001:db8:2::/48", "10.0.0.0/8")}, "rr [2001:db8:2::10 10.1.0.10]"},
		{View{Endpoints: []netip.Prefix{}}, "rr []"},
		{View{Namespace: "shop"}, "rr [2001:db8:1::10 2001:db8:2::10 10.1.0.10]"},
		{View{Endpoints: prefixes("2001:db8:1::/48"), Instead: map[string][]netip.Addr{s.Name: addrs("2001:db8:53::80")}}, "rr [2001:db8:53::80]"},
	} {
		got := "nothing"
		if seen, ok := tt.view.sees(s); ok {
			got = fmt.Sprint(seen.Policy, " ", addressesOf(seen))
		}
		if got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.view, got, tt.want)
		}
	}
	if len(s.Endpoints) != 3 {
		t.Error("the service itself was changed")
	}
}

// Clients in a namespace of a cluster see services of it, those of no cluster, and others by the word of these.
func TestViewOfNamespace(t *testing.T) {
	t.Parallel()
	v := View{Namespace: "shop", Instead: map[string][]netip.Addr{"a.": addrs("2001:db8::1")}}
	for _, tt := range []struct {
		namespace string
		allow     []string
		want      bool
	}{
		{"", nil, true}, {"shop", nil, true}, {"shop", []string{"media"}, true},
		{"media", nil, false}, {"media", []string{"bank"}, false}, {"media", []string{"bank", "shop"}, true}, {"media", []string{"*"}, true},
	} {
		s := testService("a.", 1, "10.0.0.1 up")
		s.Namespace, s.Allow = tt.namespace, tt.allow
		if _, got := v.sees(s); got != tt.want {
			t.Errorf("service of %q that allows %v: seen %v", tt.namespace, tt.allow, got)
		}
	}
	a := compileAccess(&Access{Views: []View{{Name: "shop", Namespace: "shop", Clients: prefixes("::/0")}}}, nil)
	if !a.narrow(0) {
		t.Error("the view hides nothing")
	}
}

func addressesOf(s steering.Service) []netip.Addr {
	all := []netip.Addr{}
	for _, e := range s.Endpoints {
		all = append(all, e.Address)
	}
	return all
}
