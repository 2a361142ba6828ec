package lab

import (
	"fmt"
	"slices"
)

// An Image is what a node runs beside our own programs: those of a Debian package. In containerlab it is a docker image
// of that name (deploy/docker), here the machine's own installation.
type Image string

const (
	Anyedge Image = "" // our programs alone
	FRR     Image = "frr"
	BIRD    Image = "bird"
	ExaBGP  Image = "exabgp"
)

// imageNeeds is what an image beside ours runs, and what that needs.
type imageNeeds struct {
	cmd     []string // unless the node has its own
	program string   // of the package: shows whether it is installed
	pkg     string   // of Debian
	router  bool     // routes for others
}

var images = map[Image]imageNeeds{
	FRR:    {cmd: []string{"edgelab", "frr"}, program: "/usr/lib/frr/zebra", pkg: "frr", router: true},
	BIRD:   {cmd: []string{"edgelab", "bird"}, program: "bird", pkg: "bird2", router: true},
	ExaBGP: {cmd: []string{"exabgp", "/etc/exabgp/exabgp.conf"}, program: "exabgp", pkg: "exabgp"},
}

// ImageByName returns the image with a name as it stands in a topology file, without its tag.
func ImageByName(name string) (Image, bool) {
	if name == "anyedge" {
		return Anyedge, true
	}
	_, known := images[Image(name)]
	return Image(name), known
}

// String returns the name of the docker image.
func (i Image) String() string {
	if i == Anyedge {
		return "anyedge"
	}
	return string(i)
}

// Cmd returns what a node of this image runs unless it says so itself; nil: it must.
func (i Image) Cmd() []string { return slices.Clone(images[i].cmd) }

// check tells which package of the machine's is missing.
func (i Image) check(installed func(program string) bool) error {
	needs, other := images[i]
	if !other || installed(needs.program) {
		return nil
	}
	return fmt.Errorf("image %s: %s is missing: install Debian's package %s", i, needs.program, needs.pkg)
}
