package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// aBalanced is a Service of our class, of both families unless changed, whose status has addresses. externalTrafficPolicy is Local.
func aBalanced(addresses string, annotations ...string) *corev1.Service {
	s := aService(annotations...)
	s.UID = "uid-1"
	s.Spec.Type, s.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, new(DefaultAddressClass)
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
	for _, a := range strings.Fields(addresses) {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

func named[T metav1.Object](o T, name string) T {
	o.SetName(name)
	return o
}

func everywhere(s *corev1.Service) *corev1.Service {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	return s
}

// aSpread is a slice of endpoints with their nodes: NODE:ADDRESS[ STATE].
func aSpread(name string, endpoints ...string) *discoveryv1.EndpointSlice {
	var nodes, rest []string
	for _, e := range endpoints {
		node, text, _ := strings.Cut(e, "@")
		nodes, rest = append(nodes, node), append(rest, text)
	}
	s := aSlice(name, rest...)
	for i, n := range nodes {
		s.Endpoints[i].NodeName = &n
	}
	return s
}

// aNode is ready, unless it is cordoned, unready, new, leaving or excluded.
func aNode(name, state string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-n", Labels: map[string]string{}}}
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}
	switch state {
	case "cordoned":
		n.Spec.Unschedulable = true
	case "unready":
		ready.Status, ready.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
	case "leaving":
		n.DeletionTimestamp = &metav1.Time{}
	case "excluded":
		n.Labels[corev1.LabelNodeExcludeBalancers] = ""
	case "new":
		return n
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeDiskPressure}, ready}
	return n
}

var testPools = []Pool{{Name: "edge", Prefixes: prefixesOf("2001:db8:53::/112", "192.0.2.0/24")}}

func aBalance() *balance {
	return newBalance(balancing{
		class: DefaultAddressClass, node: "n1", pools: testPools,
		reserved: map[netip.Addr]string{netip.MustParseAddr("2001:db8:53::53"): "a VIP of service dns of an agent's file"},
	})
}

// vipsOf says what this node is to do, and what there is to say: a line for each.
func vipsOf(b *balance) (lines []string) {
	vips, verdicts := b.vips()
	for _, v := range vips {
		what := "leave"
		switch {
		case v.Wanted:
			what = "announce"
		case v.AtOnce:
			what = "leave at once"
		}
		line := fmt.Sprintf("%s %s: %s: %s", v.Name, v.Address, what, v.Why)
		if len(v.Probe.Targets) > 0 {
			line += fmt.Sprintf("; %s%s %v", map[ProbeKind]string{ProbeTCP: "tcp", ProbeHTTP: "http"}[v.Probe.Kind], v.Probe.Path, v.Probe.Targets)
		}
		lines = append(lines, line)
	}
	for _, v := range verdicts {
		for _, a := range v.Addresses {
			if a.Held != "" {
				lines = append(lines, fmt.Sprintf("%s: %s from %s: %s", v.Service, a.Address, a.From, a.Held))
			}
		}
		for _, p := range v.Problems {
			lines = append(lines, v.Service+": "+p)
		}
	}
	return lines
}

func TestVIPs(t *testing.T) {
	t.Parallel()
	const six, four = "2001:db8:53::7", "192.0.2.7"
	one := with(aBalanced(six), func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] })
	n1, n2 := aNode("n1", ""), aNode("n2", "")
	changed := func(s *corev1.Service, change func(*corev1.Service)) *corev1.Service {
		return with(s.DeepCopy(), change)
	}
	cluster := everywhere(one.DeepCopy())
	annotated := func(s *corev1.Service, notes ...string) *corev1.Service {
		return changed(s, func(s *corev1.Service) { s.Annotations = objectMeta("", 0, notes...).Annotations })
	}
	for _, tt := range []struct {
		name string
		in   []any
		want []string
	}{
		{"endpoints on this node", []any{one, n1, n2, aSpread("a", "n1@fd00::1", "n1@fd00::2", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 2 ready endpoints on this node; tcp [[fd00::1]:80 [fd00::2]:80]",
		}},
		{"elsewhere, local", []any{one, n1, n2, aSpread("a", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave at once: no ready endpoint on this node",
		}},
		{"elsewhere, cluster", []any{cluster, n1, n2, aSpread("a", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: ready endpoints on other nodes",
		}},
		{"nowhere, cluster", []any{cluster, n1, n2, aSpread("a", "n2@fd00::3 starting")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave at once: no ready endpoint on any node",
		}},
		{"not ready", []any{one, n1, aSpread("a", "n1@fd00::1 starting")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave at once: no ready endpoint on this node",
		}},
		{"terminating, serving", []any{one, n1, n2, aSpread("a", "n1@fd00::1 draining", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: its endpoints terminate",
		}},
		{"terminating elsewhere, cluster", []any{cluster, n1, n2, aSpread("a", "n2@fd00::1 draining")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: its endpoints terminate",
		}},
		{"gone", []any{one, n1, aSpread("a", "n1@fd00::1 gone")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave at once: no ready endpoint on this node",
		}},
		{"no slice", []any{one, n1}, []string{"shop/api/ipv6 2001:db8:53::7: leave at once: no ready endpoint on this node"}},
		{"families apart", []any{aBalanced(six + " " + four), n1, aSpread("a", "n1@fd00::1"), aSpread("b", "n2@10.0.0.1")}, []string{
			"shop/api/ipv4 192.0.2.7: leave at once: no ready endpoint on this node",
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
		}},
		{"no address yet", []any{changed(one, func(s *corev1.Service) { s.Status = corev1.ServiceStatus{} }), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api: 2001:db8:53::c86c from pool edge: not written in its status yet",
		}},
		{"another class", []any{changed(one, func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("other/one") }), n1, aSpread("a", "n1@fd00::1")}, nil},
		{"no class", []any{changed(one, func(s *corev1.Service) { s.Spec.LoadBalancerClass = nil }), n1, aSpread("a", "n1@fd00::1")}, nil},
		{"another type", []any{changed(one, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP }), n1, aSpread("a", "n1@fd00::1")}, nil},
		{"being deleted", []any{changed(one, func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{} }), n1, aSpread("a", "n1@fd00::1")}, nil},
		{"an address of no pool", []any{changed(one, func(s *corev1.Service) { s.Status.LoadBalancer.Ingress[0].IP = "2001:db8:99::1" }), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api: 2001:db8:99::1 from its status, in no pool: in no pool of this agent",
			"shop/api: AddressNotInPool: 2001:db8:99::1 is in no pool of this agent, so it is not announced: put its prefix back into a pool, or ask for another one with anyedge/address",
		}},
		{"an address of a file's service", []any{changed(one, func(s *corev1.Service) { s.Status.LoadBalancer.Ingress[0].IP = "2001:db8:53::53" }), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api: 2001:db8:53::c86c from pool edge: not written in its status yet",
			"shop/api: AddressReserved: 2001:db8:53::53 is a VIP of service dns of an agent's file",
		}},
		{"two with one address", []any{one, named(one.DeepCopy(), "bpi"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
			"shop/bpi: 2001:db8:53::8936 from pool edge: not written in its status yet",
			"shop/bpi: AddressTaken: 2001:db8:53::7 is that of Service shop/api, which is older",
		}},
		{"another address is asked for", []any{annotated(one, "address=2001:db8:53::8"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
			"shop/api: 2001:db8:53::8 from pool edge, asked for: not written in its status yet",
		}},

		{"cordoned", []any{one, aNode("n1", "cordoned"), n2, aSpread("a", "n1@fd00::1", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: this node is cordoned; tcp [[fd00::1]:80]",
		}},
		{"not ready node", []any{one, aNode("n1", "unready"), n2, aSpread("a", "n1@fd00::1", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: this node is not ready: NodeStatusUnknown; tcp [[fd00::1]:80]",
		}},
		{"excluded, cluster", []any{cluster, aNode("n1", "excluded"), n2, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: this node is excluded from load balancers by its label node.kubernetes.io/exclude-from-external-load-balancers; tcp [[fd00::1]:80]",
		}},
		{"cordoned, nobody else", []any{one, aNode("n1", "cordoned"), n2, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; this node is cordoned, but no other one could take over; tcp [[fd00::1]:80]",
		}},
		{"all cordoned", []any{one, aNode("n1", "cordoned"), aNode("n2", "cordoned"), aSpread("a", "n1@fd00::1", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; this node is cordoned, but no other one could take over; tcp [[fd00::1]:80]",
		}},
		{"all leaving, cluster", []any{cluster, aNode("n1", "leaving"), aNode("n2", "new"), aSpread("a", "n1@fd00::1", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; this node is being deleted, but no other one could take over; tcp [[fd00::1]:80]",
		}},
		{"a node that is not known", []any{one, n2, aSpread("a", "n1@fd00::1", "n2@fd00::3")}, []string{
			"shop/api/ipv6 2001:db8:53::7: leave: this node is not known to the API; tcp [[fd00::1]:80]",
		}},

		{"check by http", []any{annotated(one, "check=http", "check-path=/healthz"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; http/healthz [[fd00::1]:80]",
		}},
		{"no check", []any{annotated(one, "check=none"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node",
		}},
		{"check of a kind that is not known", []any{annotated(one, "check=ping"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
			`shop/api: BadAnnotation: anyedge/check: must be tcp, http or none, not "ping"`,
		}},
		{"check of a port that is not there", []any{annotated(one, "check-port=81"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node",
			"shop/api: BadAnnotation: anyedge/check-port: there is no such port of TCP",
		}},
		{"path without http", []any{annotated(one, "check-path=/x"), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
			"shop/api: BadAnnotation: anyedge/check-path: must be a path that begins with /, and goes with anyedge/check: http",
		}},
		{"UDP alone", []any{changed(one, func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }), n1, aSpread("a", "n1@fd00::1")}, []string{
			"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := objects(t, tt.in...)
			for range 10 {
				rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				b := aBalance()
				for _, o := range all {
					b.put(o)
				}
				if diff := cmp.Diff(tt.want, vipsOf(b)); diff != "" {
					t.Fatalf("(-want +got)\n%s", diff)
				}
				for _, o := range all {
					b.drop(o, o.place())
				}
				if n := len(b.services) + len(b.slices) + len(b.sliced) + len(b.nodes); n != 0 {
					t.Fatalf("%d objects are left", n)
				}
			}
		})
	}
}

// A status that was emptied takes nothing away; one that says something else does, and so does another Service of the name.
func TestEmptiedStatus(t *testing.T) {
	t.Parallel()
	b := aBalance()
	has := func(what string, want ...string) {
		t.Helper()
		vips, _ := b.vips()
		var got []string
		for _, v := range vips {
			got = append(got, v.Address.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", what, diff)
		}
	}
	put := func(s *corev1.Service) {
		for _, o := range objects(t, s) {
			b.put(o)
		}
	}
	put(aBalanced(""))
	has("at first")
	put(aBalanced("2001:db8:53::7 192.0.2.7"))
	has("given", "192.0.2.7", "2001:db8:53::7")
	put(aBalanced(""))
	has("emptied", "192.0.2.7", "2001:db8:53::7")
	put(aBalanced("", "hostname=x"))
	has("emptied, and another change", "192.0.2.7", "2001:db8:53::7")
	put(aBalanced("2001:db8:53::8"))
	has("given another", "2001:db8:53::8")
	put(with(aBalanced(""), func(s *corev1.Service) { s.UID = "uid-2" }))
	has("made anew")
	put(aBalanced("2001:db8:53::8"))
	put(with(aBalanced(""), func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP }))
	has("no load balancer any more")
	put(aBalanced(""))
	has("and one again")
}

func TestAwards(t *testing.T) {
	t.Parallel()
	now, before := metav1.Unix(2000, 0), metav1.Unix(1000, 0)
	ours := func(status metav1.ConditionStatus, reason, message string, at metav1.Time) metav1.Condition {
		return metav1.Condition{Type: conditionAddress, Status: status, Reason: reason, Message: message, LastTransitionTime: at}
	}
	const seven = "2001:db8:53::7 from pool edge"
	one := with(aBalanced("2001:db8:53::7"), func(s *corev1.Service) {
		s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
		s.Status.Conditions = []metav1.Condition{{Type: "other"}, ours("True", "Assigned", seven, before)}
	})
	entry := func(ip string) map[string]any {
		return map[string]any{"ingress": []any{map[string]any{"ip": ip, "ipMode": corev1.LoadBalancerIPModeVIP}}}
	}
	emptied := with(one.DeepCopy(), func(s *corev1.Service) { s.Status.LoadBalancer = corev1.LoadBalancerStatus{} })
	gone := map[string]any{"type": conditionAddress, "$patch": "delete"}
	for _, tt := range []struct {
		name string
		in   *corev1.Service
		want any
	}{
		{"as it is", one, nil},
		{"emptied", emptied, map[string]any{"loadBalancer": entry("2001:db8:53::7")}},
		{"a host name instead", with(one.DeepCopy(), func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress[0] = corev1.LoadBalancerIngress{Hostname: "x"}
		}), map[string]any{
			"loadBalancer": entry("2001:db8:53::c86c"),
			"conditions":   []any{new(ours("True", "Assigned", "2001:db8:53::c86c from pool edge", before))},
		}},
		{"asked for in vain", with(one.DeepCopy(), func(s *corev1.Service) { s.Spec.LoadBalancerIP = "2001:db8:99::1" }), map[string]any{
			"conditions": []any{new(ours("True", reasonNotInPool, seven+"; AddressNotInPool: 2001:db8:99::1 is asked for, and is in no pool", before))},
		}},
		{"none", with(aBalanced(""), func(s *corev1.Service) { s.Spec.LoadBalancerIP = "x"; s.Spec.IPFamilies = nil }), map[string]any{
			"conditions": []any{new(ours("False", reasonAddressBad, `BadAddress: "x" is asked for, and is no address`, now))},
		}},
		{"no load balancer any more", with(one.DeepCopy(), func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP }), map[string]any{
			"loadBalancer": map[string]any{"ingress": []any{}}, "conditions": []any{gone},
		}},
		{"of no class any more", with(one.DeepCopy(), func(s *corev1.Service) { s.Spec.LoadBalancerClass = nil }), map[string]any{
			"conditions": []any{gone},
		}},
		{"of another class, whose agents may have given it", with(one.DeepCopy(), func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("other/one") }), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &Balancer{follower: &follower{}, balance: aBalance()}
			for _, s := range []*corev1.Service{one, tt.in} { // known before
				for _, o := range objects(t, s) {
					b.balance.put(o)
				}
			}
			got := b.awards(now.Time)
			if len(got) != 1 {
				t.Fatalf("%d awards", len(got))
			}
			if diff := cmp.Diff(tt.want, got[0].status); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
