package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFRRDaemons(t *testing.T) {
	always := []frrDaemon{{name: "zebra"}, {name: "staticd"}}
	tests := []struct {
		name, text string
		installed  []string
		want       []frrDaemon
		err        string
	}{
		{name: "nothing", want: always},
		{
			name: "as Debian ships it, with two switched on", installed: []string{"bgpd", "bfdd"},
			text: `# The watchfrr, zebra and staticd daemons are always started.
bgpd=yes
ospfd=no
bfdd=yes

vtysh_enable=yes
zebra_options="  -A 127.0.0.1 -s 90000000"
bgpd_options="   -A 127.0.0.1"
ospfd_options="  -A 127.0.0.1"
`,
			want: []frrDaemon{
				{name: "zebra", options: []string{"-A", "127.0.0.1", "-s", "90000000"}}, {name: "staticd"},
				{name: "bgpd", options: []string{"-A", "127.0.0.1"}}, {name: "bfdd"},
			},
		},
		{name: "zebra is there already", text: "zebra=yes\n", want: always},
		{
			name: "a version with mgmtd", installed: []string{"mgmtd"},
			want: append([]frrDaemon{{name: "mgmtd"}}, always...),
		},
		{name: "not installed", text: "pathd=yes\n", err: "/etc/frr/daemons: pathd is not installed in /usr/lib/frr"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			installed := func(name string) bool { return strings.Contains(strings.Join(tt.installed, " "), name) }
			got, err := parseFRRDaemons(strings.NewReader(tt.text), installed)
			if message(err) != tt.err {
				t.Fatalf("error = %q, want %q", message(err), tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(frrDaemon{})); diff != "" {
				t.Errorf("daemons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithRoot(t *testing.T) {
	tests := []struct{ name, groups, want string }{
		{"no such group", "root:x:0:\n", "root:x:0:\n"},
		{"no member", "root:x:0:\nfrrvty:x:107:\nfrr:x:108:\n", "root:x:0:\nfrrvty:x:107:root\nfrr:x:108:\n"},
		{"a member", "frrvty:x:107:frr\n", "frrvty:x:107:frr,root\n"},
		{"already", "frrvty:x:107:root\n", "frrvty:x:107:root\n"},
		{"last line open", "frrvty:x:107:frr", "frrvty:x:107:frr,root\n"},
		{"not ours", "frrvty\n", "frrvty\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(withRoot([]byte(tt.groups), "frrvty")); got != tt.want {
				t.Errorf("groups %q, want %q", got, tt.want)
			}
		})
	}
}
