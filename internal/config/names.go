package config

import (
	"fmt"
	"strings"
)

// domainName returns the lower-case form of a fully qualified name, or why it is none: labels of 1 to 63 octets, 255
// octets in all on the wire (RFC 1035 section 2.3.4).
func domainName(s string) (name, why string) {
	switch {
	case s == ".":
		return "", "must not be the root"
	case !strings.HasSuffix(s, "."):
		return "", fmt.Sprintf("%q is not fully qualified: write %q", s, s+".")
	case len(s) > 254: // plus the length octet of the first label
		return "", "must be a name of at most 255 octets"
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if why := badLabel(label); why != "" {
			return "", fmt.Sprintf("%q is no name: %s", s, why)
		}
	}
	return strings.ToLower(s), ""
}

func badLabel(label string) string {
	switch {
	case label == "":
		return "it has an empty label"
	case label == "*":
		return "wildcards are not supported yet"
	case len(label) > 63:
		return "a label has more than 63 octets"
	case !only(label, "-_"):
		return "labels are made of letters, digits, hyphens and underscores"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a label neither begins nor ends with a hyphen"
	default:
		return ""
	}
}

// domain reads a fully qualified name.
func (it item) domain(what string) string {
	text := it.str(what)
	if text == "" {
		return ""
	}
	name, why := domainName(text)
	if why != "" {
		it.bad("%s", why)
	}
	return name
}

// within tells whether name is zone or lies below it.
func within(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}
