package config

import (
	"crypto/x509"
	"net/netip"
	"os"
	"testing"

	"github.com/anyedge/anyedge/pkg/health"
)

// mustCheck reads the agent's file with another check in the place of one.
func mustCheck(t *testing.T, text string) health.Check {
	t.Helper()
	a := mustParse(t, ParseAgent, agentFile, "type: listener, proto: udp, port: 53", text)
	return a.Services[0].Health.Checks[1]
}

func TestHTTPTargets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]health.HTTP{
		"type: http, target: 'http://[::1]'":                             {Target: netip.MustParseAddrPort("[::1]:80"), Path: "/"},
		"type: https, target: 'https://127.0.0.1'":                       {Target: netip.MustParseAddrPort("127.0.0.1:443"), Path: "/", TLS: true},
		"type: https, target: 'https://127.0.0.1:8443/a?b=c'":            {Target: netip.MustParseAddrPort("127.0.0.1:8443"), Path: "/a?b=c", TLS: true},
		"type: http, target: '[::1]:8080'":                               {Target: netip.MustParseAddrPort("[::1]:8080")},
		"type: http, target: '127.0.0.1:8080', path: '/%41?x'":           {Target: netip.MustParseAddrPort("127.0.0.1:8080"), Path: "/%41?x"},
		"type: http, target: 'http://[fe80::1%25eth1]/'":                 {Target: netip.MustParseAddrPort("[fe80::1%eth1]:80"), Path: "/"},
		"type: https, target: '[::1]:1', insecure_skip_verify: true":     {Target: netip.MustParseAddrPort("[::1]:1"), TLS: true, InsecureSkipVerify: true},
		"type: http, target: '[::1]:1', method: HEAD, status: [404]":     {Target: netip.MustParseAddrPort("[::1]:1"), Method: "HEAD", Status: []health.StatusRange{{From: 404, To: 404}}},
		"type: http, target: '[::1]:1', host: 'a:1', source: '::1'":      {Target: netip.MustParseAddrPort("[::1]:1"), Host: "a:1", Local: health.Local{Source: netip.IPv6Loopback()}},
		"type: http, target: '[::1]:1', status: ['200'], device: 'eth1'": {Target: netip.MustParseAddrPort("[::1]:1"), Status: []health.StatusRange{{From: 200, To: 200}}, Local: health.Local{Device: "eth1"}},
	} {
		if want.Method == "" {
			want.Method = "GET"
		}
		if d := diff(want, mustCheck(t, text).Checker); d != "" {
			t.Errorf("%s (-want +got)\n%s", text, d)
		}
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	c := mustCheck(t, "type: https, target: '[::1]:1', ca_file: ca.pem").Checker.(health.HTTP)
	pem, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	if !want.AppendCertsFromPEM(pem) || !c.Roots.Equal(want) {
		t.Errorf("got other authorities than those in the file")
	}
}
