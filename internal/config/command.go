package config

import "strings"

// command splits a command line into words as a shell does: quotes and backslashes, nothing else. No shell runs it, so
// what a shell would expand or interpret is refused.
func command(it item) []string {
	text, ok := it.text("a program and its arguments")
	if !ok {
		return nil
	}
	words, why := split(text)
	switch {
	case why != "":
		it.bad("%s", why)
	case len(words) == 0 || words[0] == "":
		it.bad("must be a program and its arguments, not empty")
	default:
		return words
	}
	return []string{} // reported: not missing too
}

func split(line string) (words []string, why string) {
	var word strings.Builder
	var quote rune // 0: outside quotes
	begun, escaped := false, false
	for _, r := range line {
		switch {
		case r < ' ' && r != '\t' && r != '\n':
			return nil, "control characters are not supported"
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			begun, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != '\'' && (r == '$' || r == '`'):
			return nil, notShell(r)
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			begun, quote = true, r
		case strings.ContainsRune("|;&<>()", r) || r == '#' && !begun:
			return nil, notShell(r)
		case r == ' ' || r == '\t' || r == '\n':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, "a quote is not closed"
	case escaped:
		return nil, `ends in a backslash`
	case begun:
		words = append(words, word.String())
	}
	return words, ""
}

func notShell(r rune) string {
	return "no shell runs this: put " + string(r) + " between single quotes, or remove it"
}
