package lab

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GNS3 returns the topology as a project of GNS3 2.2: the contents of its files by their slash-separated names. The same
// topology gives the same bytes. A node with a network of its own becomes a docker node of its image; the programs that
// share its network are started by its `edgelab node` or `edgelab router`, since GNS3 knows no shared networks; its
// binds are shipped as the files of its persistent directories. What GNS3 cannot hold is refused.
func (t Topology) GNS3() (map[string][]byte, error) {
	p := gns3Project{
		ProjectID: t.gns3ID("project", ""), Name: t.Name, Type: "topology", Revision: 9, Version: "2.2.0", AutoClose: true,
		Topology: gns3Topology{Computes: []any{}, Drawings: []any{}, Links: []gns3Link{}},
	}
	files := map[string][]byte{"README.txt": t.gns3Readme()}
	places := t.gns3Places()
	for _, host := range t.hosts() {
		n, err := t.gns3Node(host, files)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", host.Name, err)
		}
		n.X, n.Y = places[host.Name].x, places[host.Name].y
		p.Topology.Nodes = append(p.Topology.Nodes, n)
	}
	for _, l := range t.Links {
		link, err := t.gns3Link(l)
		if err != nil {
			return nil, fmt.Errorf("link %s - %s: %w", l.A.Node, l.B.Node, err)
		}
		p.Topology.Links = append(p.Topology.Links, link)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	if err := e.Encode(p); err != nil {
		return nil, err
	}
	files[t.Name+".gns3"] = text.Bytes()
	return files, nil
}

// The file of a project. Only keys that every 2.2 takes are written: its schema refuses unknown ones.
type (
	gns3Project struct {
		AutoClose bool         `json:"auto_close"`
		AutoOpen  bool         `json:"auto_open"`
		AutoStart bool         `json:"auto_start"`
		Name      string       `json:"name"`
		ProjectID string       `json:"project_id"`
		Revision  int          `json:"revision"`
		Topology  gns3Topology `json:"topology"`
		Type      string       `json:"type"`
		Version   string       `json:"version"`
	}
	gns3Topology struct {
		Computes []any      `json:"computes"`
		Drawings []any      `json:"drawings"`
		Links    []gns3Link `json:"links"`
		Nodes    []gns3Node `json:"nodes"`
	}
	gns3Node struct {
		ComputeID        string         `json:"compute_id"`
		ConsoleAutoStart bool           `json:"console_auto_start"`
		ConsoleType      string         `json:"console_type"`
		Label            gns3Label      `json:"label"`
		Name             string         `json:"name"`
		NodeID           string         `json:"node_id"`
		NodeType         string         `json:"node_type"`
		Properties       gns3Properties `json:"properties"`
		Symbol           string         `json:"symbol"`
		X                int            `json:"x"`
		Y                int            `json:"y"`
		Z                int            `json:"z"`
	}
	gns3Label struct {
		Style    string `json:"style"`
		Text     string `json:"text"`
		X        int    `json:"x"`
		Y        int    `json:"y"`
		Rotation int    `json:"rotation"`
	}
	gns3Properties struct {
		Adapters     int      `json:"adapters"`
		Environment  string   `json:"environment"`
		ExtraVolumes []string `json:"extra_volumes"`
		Image        string   `json:"image"`
		StartCommand string   `json:"start_command"`
	}
	gns3Link struct {
		Filters map[string][]int `json:"filters"`
		LinkID  string           `json:"link_id"`
		Nodes   []gns3End        `json:"nodes"`
		Suspend bool             `json:"suspend"`
	}
	gns3End struct {
		AdapterNumber int    `json:"adapter_number"`
		NodeID        string `json:"node_id"`
		PortNumber    int    `json:"port_number"`
	}
)

// gns3Style is the style that GNS3's own projects give a label; its GUI looks for one.
const gns3Style = "font-family: TypeWriter;font-size: 10.0;font-weight: bold;fill: #000000;fill-opacity: 1.0;"

// gns3ID is a UUID version 5 (RFC 9562) of the lab's and the item's names: rendering again changes nothing.
func (t Topology) gns3ID(kind, name string) string {
	// The name space is the URL one of RFC 9562, appendix C.
	space := []byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	sum := sha1.Sum(append(space, "https://github.com/anyedge/anyedge/"+t.Name+"/"+kind+"/"+name...))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// hosts returns the nodes with a network of their own.
func (t Topology) hosts() []Node {
	return slices.DeleteFunc(slices.Clone(t.Nodes), func(n Node) bool { return n.Host != "" })
}

// companions returns the nodes that share a node's network.
func (t Topology) companions(host string) []Node {
	return slices.DeleteFunc(slices.Clone(t.Nodes), func(n Node) bool { return n.Host != host })
}

// gns3Node turns a host and its companions into one docker node, and adds its files to those of the project.
func (t Topology) gns3Node(host Node, files map[string][]byte) (gns3Node, error) {
	adapters, err := t.gns3Adapters(host.Name)
	if err != nil {
		return gns3Node{}, err
	}
	together := append([]Node{host}, t.companions(host.Name)...)
	command, err := gns3Command(together)
	if err != nil {
		return gns3Node{}, err
	}
	env, err := gns3Environment(together)
	if err != nil {
		return gns3Node{}, err
	}
	id := t.gns3ID("node", host.Name)
	volumes, err := t.gns3Volumes(together, "project-files/docker/"+id, files)
	if err != nil {
		return gns3Node{}, err
	}
	for _, n := range together {
		if n.Image != host.Image {
			return gns3Node{}, fmt.Errorf("%s is of image %s, the host of image %s, and in GNS3 both run in one container", n.Name, n.Image, host.Image)
		}
	}
	return gns3Node{
		ComputeID: "local", ConsoleType: "telnet", Label: gns3Label{Style: gns3Style, Text: host.Name, Y: -25}, Name: host.Name, NodeID: id,
		NodeType: "docker", Symbol: ":/symbols/docker_guest.svg", Z: 1,
		Properties: gns3Properties{
			Adapters: adapters, Environment: env, ExtraVolumes: volumes, Image: host.Image.String() + ":latest", StartCommand: command,
		},
	}, nil
}

// gns3Adapters is how many adapters a node needs: adapter N is interface ethN, and eth0 stays free as in containerlab.
func (t Topology) gns3Adapters(node string) (int, error) {
	highest := 0
	for _, l := range t.Links {
		for _, e := range []Endpoint{l.A, l.B} {
			if e.Node != node {
				continue
			}
			n, err := gns3Adapter(e.Interface)
			if err != nil {
				return 0, err
			}
			highest = max(highest, n)
		}
	}
	return highest + 1, nil
}

var gns3Interface = regexp.MustCompile(`^eth(0|[1-9][0-9]?)$`)

func gns3Adapter(name string) (int, error) {
	m := gns3Interface.FindStringSubmatch(name)
	if m == nil {
		return 0, fmt.Errorf("interface %s: GNS3 calls a docker node's interfaces eth0, eth1 and so on: rename it", name)
	}
	n, err := strconv.Atoi(m[1])
	if err == nil && n > 98 {
		err = fmt.Errorf("interface %s: GNS3 has at most 99 adapters, eth0 to eth98", name)
	}
	return n, err
}

// gns3Command is the host's command and, after a -- each, those of its companions, in the quotes of a shell.
func gns3Command(together []Node) (string, error) {
	host := together[0]
	setsUp := len(host.Cmd) == 3 && host.Cmd[0] == "edgelab" && (host.Cmd[1] == "node" || host.Cmd[1] == "router")
	if len(together) > 1 && !setsUp {
		return "", fmt.Errorf("its command must be `edgelab node FILE` or `edgelab router FILE`: only these can start %s too, "+
			"since GNS3 knows no shared networks", together[1].Name)
	}
	var words []string
	for i, n := range together {
		if i > 0 {
			words = append(words, "--")
		}
		if slices.Contains(n.Cmd, "--") {
			return "", fmt.Errorf("the command of %s has a word --, which ends a command here", n.Name)
		}
		for _, w := range n.Cmd {
			words = append(words, shellQuote(w))
		}
	}
	return strings.Join(words, " "), nil
}

var shellPlain = regexp.MustCompile(`^[a-zA-Z0-9_@%+=:,./\[\]-]+$`)

func shellQuote(word string) string {
	if shellPlain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}

// gns3Environment joins the variables of programs that run in one container there.
func gns3Environment(together []Node) (string, error) {
	all := make(map[string]string)
	for _, n := range together {
		for k, v := range n.Env {
			if old, ok := all[k]; ok && old != v {
				return "", fmt.Errorf("env %s: %s wants another value, and in GNS3 both run in one container", k, n.Name)
			}
			if strings.ContainsAny(v, "\r\n") || strings.HasPrefix(k, "GNS3_") {
				return "", fmt.Errorf("env %s: GNS3 takes no line breaks and no names that begin with GNS3_", k)
			}
			all[k] = v
		}
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, k+"="+all[k])
	}
	return strings.Join(lines, "\n"), nil
}

// gns3Link turns a link's interfaces into adapters and its delay into a filter.
func (t Topology) gns3Link(l Link) (gns3Link, error) {
	link := gns3Link{
		Filters: map[string][]int{},
		LinkID:  t.gns3ID("link", l.A.Node+"/"+l.A.Interface+"/"+l.B.Node+"/"+l.B.Interface),
	}
	for _, e := range []Endpoint{l.A, l.B} {
		adapter, err := gns3Adapter(e.Interface)
		if err != nil {
			return gns3Link{}, err
		}
		link.Nodes = append(link.Nodes, gns3End{AdapterNumber: adapter, NodeID: t.gns3ID("node", e.Node)})
	}
	return link, link.impair(l)
}

// impair adds the filters that spoil a link. They work on both directions there, as here.
func (g *gns3Link) impair(l Link) error {
	delay, jitter, percent := l.Delay/time.Millisecond, l.Jitter/time.Millisecond, math.Round(l.Loss*100)
	switch {
	case l.Delay%time.Millisecond != 0 || l.Jitter%time.Millisecond != 0 || delay > gns3MaxDelay || jitter > gns3MaxDelay:
		return fmt.Errorf("delay %s, jitter %s: GNS3 takes whole milliseconds up to %d", l.Delay, l.Jitter, gns3MaxDelay)
	case delay == 0 && jitter != 0:
		return fmt.Errorf("jitter %s: GNS3 takes none without a delay", l.Jitter)
	case math.Abs(percent-l.Loss*100) > 1e-9:
		return fmt.Errorf("loss %g%%: GNS3 takes whole percents", l.Loss*100)
	}
	if delay != 0 {
		g.Filters["delay"] = []int{int(delay), int(jitter)}
	}
	if percent != 0 {
		g.Filters["packet_loss"] = []int{int(percent)}
	}
	return nil
}

// gns3MaxDelay is in milliseconds, as all of its times are.
const gns3MaxDelay = 32767

// gns3Readme is what GNS3 shows as the project's readme.
func (t Topology) gns3Readme() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: made by `edgelab render gns3 %[1]s`. Change the containerlab file, not this project, and render again.\n\n", t.Name)
	fmt.Fprintf(&b, "Needs on the compute host: docker image %s (deploy/docker/build). See topology/gns3/README.md.\n\n", strings.Join(t.gns3Images(), ", "))
	if slices.ContainsFunc(t.Links, func(l Link) bool { return l.MTU != 0 }) {
		b.WriteString("GNS3 knows no MTU of links: all carry 1500 bytes, also those that carry more in the containerlab file.\n\n")
	}
	for _, host := range t.hosts() {
		fmt.Fprintf(&b, "%s\n", host.Name)
		for _, n := range append([]Node{host}, t.companions(host.Name)...) {
			fmt.Fprintf(&b, "    %s\n", strings.Join(n.Cmd, " "))
		}
	}
	return b.Bytes()
}

// gns3Images returns the images of the docker nodes, each once.
func (t Topology) gns3Images() []string {
	var names []string
	for _, host := range t.hosts() {
		if name := host.Image.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

type gns3Place struct{ x, y int }

// gns3Places puts nodes into columns by their distance from the first one.
func (t Topology) gns3Places() map[string]gns3Place {
	columns := make(map[string]int)
	var order []string
	for _, first := range t.hosts() {
		queue := []string{first.Name}
		if _, seen := columns[first.Name]; seen {
			continue
		}
		columns[first.Name] = 0
		for len(queue) > 0 {
			at := queue[0]
			queue, order = queue[1:], append(order, at)
			for _, next := range t.linked(at) {
				if _, seen := columns[next]; !seen {
					columns[next] = columns[at] + 1
					queue = append(queue, next)
				}
			}
		}
	}
	places, rows := make(map[string]gns3Place), make(map[int]int)
	for _, n := range order {
		c := columns[n]
		places[n] = gns3Place{x: -450 + 170*c, y: -250 + 110*rows[c]}
		rows[c]++
	}
	return places
}

// linked returns a node's neighbors in the order of the links.
func (t Topology) linked(node string) []string {
	var names []string
	for _, l := range t.Links {
		switch node {
		case l.A.Node:
			names = append(names, l.B.Node)
		case l.B.Node:
			names = append(names, l.A.Node)
		}
	}
	return names
}
