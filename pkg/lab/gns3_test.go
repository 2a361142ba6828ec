package lab

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// two returns a lab of two hosts, one of them with a companion.
func two(t *testing.T) Topology {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "d", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.yaml", "d/one", "d/sub/two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Topology{
		Name: "two", Dir: dir,
		Nodes: []Node{
			{Name: "a", Cmd: []string{"edgelab", "node", "/etc/anyedge/node.yaml"}, Env: map[string]string{"B": "2", "A": "1"},
				Binds: []Bind{{Source: "a.yaml", Target: "/etc/anyedge/node.yaml"}}},
			{Name: "a-app", Host: "a", Cmd: []string{"app", "it's", "[::]:1", ""}, Env: map[string]string{"A": "1"},
				Binds: []Bind{{Source: "d", Target: "/srv/d"}}},
			{Name: "b", Cmd: []string{"app"}},
		},
		Links: []Link{{A: Endpoint{"a", "eth2"}, B: Endpoint{"b", "eth1"}, Delay: 3 * time.Millisecond,
			Jitter: time.Millisecond, Loss: 0.07}},
	}
}

func TestGNS3(t *testing.T) {
	topology := two(t)
	files, err := topology.GNS3()
	if err != nil {
		t.Fatal(err)
	}
	var p gns3Project
	if err := json.Unmarshal(files["two.gns3"], &p); err != nil {
		t.Fatal(err)
	}
	a, b := p.Topology.Nodes[0], p.Topology.Nodes[1]
	want := gns3Properties{
		Adapters: 3, Environment: "A=1\nB=2", ExtraVolumes: []string{"/etc/anyedge", "/srv/d"}, Image: "anyedge:latest",
		StartCommand: `edgelab node /etc/anyedge/node.yaml -- app 'it'"'"'s' [::]:1 ''`,
	}
	if diff := cmp.Diff(want, a.Properties); diff != "" {
		t.Errorf("a (-want +got)\n%s", diff)
	}
	wantLink := gns3Link{Filters: map[string][]int{"delay": {3, 1}, "packet_loss": {7}}, LinkID: p.Topology.Links[0].LinkID,
		Nodes: []gns3End{{2, a.NodeID, 0}, {1, b.NodeID, 0}}}
	if diff := cmp.Diff([]gns3Link{wantLink}, p.Topology.Links); diff != "" {
		t.Errorf("links (-want +got)\n%s", diff)
	}
	root := "project-files/docker/" + a.NodeID
	wantFiles := []string{"README.txt", root + "/etc/anyedge/node.yaml", root + "/srv/d/one", root + "/srv/d/sub/two", "two.gns3"}
	if diff := cmp.Diff(wantFiles, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

// The UUIDs are those that any other implementation of version 5 gives.
func TestGNS3ID(t *testing.T) {
	const want = "d4c4aae5-6ec0-5baf-a2fb-05b9ec55f96b"
	if got := (Topology{Name: "two"}).gns3ID("node", "a"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What GNS3 cannot hold is refused, with a remedy where there is one.
func TestGNS3Refuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Topology)
		want   string
	}{
		"interface":        {func(l *Topology) { l.Links[0].A.Interface = "uplink" }, "rename it"},
		"adapter":          {func(l *Topology) { l.Links[0].B.Interface = "eth99" }, "at most 99"},
		"half millisecond": {func(l *Topology) { l.Links[0].Delay += time.Microsecond }, "whole milliseconds"},
		"delay":            {func(l *Topology) { l.Links[0].Delay = time.Minute }, "32767"},
		"half a jitter":    {func(l *Topology) { l.Links[0].Jitter += time.Microsecond }, "whole milliseconds"},
		"only jitter":      {func(l *Topology) { l.Links[0].Delay = 0 }, "without a delay"},
		"half a percent":   {func(l *Topology) { l.Links[0].Loss = 0.005 }, "whole percents"},
		"command":          {func(l *Topology) { l.Nodes[0].Cmd = []string{"app"} }, "edgelab node FILE"},
		"word":             {func(l *Topology) { l.Nodes[1].Cmd = []string{"app", "--", "x"} }, "a-app has a word --"},
		"other value":      {func(l *Topology) { l.Nodes[1].Env["A"] = "2" }, "env A"},
		"line break":       {func(l *Topology) { l.Nodes[0].Env["A"] = "1\n2" }, "line breaks"},
		"GNS3's name":      {func(l *Topology) { l.Nodes[0].Env["GNS3_USER"] = "x" }, "GNS3_USER"},
		"absolute source":  {func(l *Topology) { l.Nodes[0].Binds[0].Source = "/etc/hosts" }, "beside the topology file"},
		"source above":     {func(l *Topology) { l.Nodes[0].Binds[0].Source = "../x" }, "beside the topology file"},
		"no source":        {func(l *Topology) { l.Nodes[0].Binds[0].Source = "none" }, "no such file"},
		"target at root":   {func(l *Topology) { l.Nodes[0].Binds[0].Target = "/x" }, "bind below"},
		"target in /etc":   {func(l *Topology) { l.Nodes[0].Binds[0].Target = "/etc/x" }, "GNS3 writes"},
		"target of GNS3's": {func(l *Topology) { l.Nodes[0].Binds[0].Target = "/etc/network/interfaces" }, "GNS3 writes"},
		"two files": {func(l *Topology) {
			l.Nodes[1].Binds = []Bind{{Source: "d/one", Target: "/etc/anyedge/node.yaml"}}
		}, "another file at /etc/anyedge/node.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			topology := two(t)
			tc.change(&topology)
			if _, err := topology.GNS3(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}
