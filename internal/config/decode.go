package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/redoubt-dr/redoubt"
)

type position struct{ line, column int }

// decoder puts a YAML tree into a struct. The YAML library's own strict mode
// stops at the first unknown key and forgets where values stood; an operator
// with five faults wants to see five, and a rule that a value breaks later
// must still name its line.
type decoder struct {
	faults Faults
	where  map[string]position // of every value that was seen
	said   []string            // keys whose absence is explained by a misspelling nearby
	usable bool                // the document is a mapping, so rules can be checked
}

func (d *decoder) document(b []byte, v reflect.Value) {
	if tk := tooDeep(b); tk != nil {
		f := Fault{Message: "values are nested too deeply", Hint: "what belongs here has a few levels, and no anchors or tags"}
		if tk.Position != nil {
			f.Line, f.Column = tk.Position.Line, tk.Position.Column
		}
		d.faults = append(d.faults, f)
		return
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		d.syntax(err)
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.faultAt(doc.Body, "", "a second document", "one file, one document")
			return
		}
		body = doc.Body
	}
	if body == nil {
		d.faults = append(d.faults, Fault{Message: "the file is empty", Hint: "examples are in packaging/examples"})
		return
	}
	d.usable = true
	d.value(body, "", v)
}

func (d *decoder) value(n ast.Node, key string, v reflect.Value) {
	d.where[key] = positionOf(n)
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(n, key, func(s string) error { return u.UnmarshalText([]byte(s)) })
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, key, v.Elem())
	case reflect.Struct:
		if p, ok := v.Addr().Interface().(interface{ preset() }); ok {
			p.preset()
		}
		d.mapping(n, key, v)
	case reflect.Slice:
		d.sequence(n, key, v)
	case reflect.String:
		d.scalar(n, key, func(s string) error { v.SetString(s); return nil })
	case reflect.Int:
		d.scalar(n, key, func(s string) error {
			i, err := strconv.ParseInt(s, 10, 32)
			v.SetInt(i)
			return number(err)
		})
	case reflect.Uint16:
		d.scalar(n, key, func(s string) error {
			i, err := strconv.ParseUint(s, 10, 16)
			v.SetUint(i)
			return number(err)
		})
	case reflect.Bool:
		d.scalar(n, key, func(s string) error {
			if s != "true" && s != "false" {
				return &redoubt.Error{Hint: "true or false", Err: redoubt.ErrInvalid}
			}
			v.SetBool(s == "true")
			return nil
		})
	default:
		panic("config: no way to read a " + v.Type().String()) // a field's type that nobody taught us
	}
}

func number(err error) error {
	if err != nil {
		return &redoubt.Error{Hint: "a whole decimal number", Err: redoubt.ErrInvalid}
	}
	return nil
}

func (d *decoder) mapping(n ast.Node, key string, v reflect.Value) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		d.faultAt(n, key, "needs keys below it, has "+describe(n), "")
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		fields[name] = v.Field(i)
		names = append(names, name)
	}
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		f, ok := fields[name]
		if !ok {
			best := nearestName(name, names)
			d.faultAt(p.Key, join(key, name), "unknown key", suggestion(best, names))
			if best != "" {
				d.said = append(d.said, join(key, best))
			}
			continue
		}
		d.value(p.Value, join(key, name), f)
	}
}

func (d *decoder) sequence(n ast.Node, key string, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.faultAt(n, key, "needs a list, has "+describe(n), "write [a, b] or lines that begin with -")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, e := range s.Values {
		d.value(e, fmt.Sprintf("%s[%d]", key, i), v.Index(i))
	}
}

// scalar takes the text as it stands in the file, whatever YAML thinks of its
// type: a disk named 007 or no keeps its name.
func (d *decoder) scalar(n ast.Node, key string, set func(string) error) {
	var text string
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode: // a block of lines
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = n.GetToken().Value
	default:
		d.faultAt(n, key, "needs a single value, has "+describe(n), "")
		return
	}
	if err := set(text); err != nil {
		d.faultAt(n, key, fmt.Sprintf("%q is not valid", text), redoubt.Hint(err))
	}
}

func (d *decoder) faultAt(n ast.Node, key, msg, hint string) {
	p := positionOf(n)
	d.faults = append(d.faults, Fault{Line: p.line, Column: p.column, Key: key, Message: msg, Hint: hint})
}

// failed reports whether a fault of key, or of something above it, is known.
func (d *decoder) failed(key string) bool {
	if slices.Contains(d.said, key) && d.where[key] == (position{}) {
		return true
	}
	for _, f := range d.faults {
		if key == f.Key || f.Key == "" || strings.HasPrefix(key, f.Key+".") || strings.HasPrefix(key, f.Key+"[") {
			return true
		}
	}
	return false
}

// nearest returns the place of key, or of what it is missing from.
func (d *decoder) nearest(key string) position {
	for {
		if p, ok := d.where[key]; ok || key == "" {
			return p
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
}

func (d *decoder) syntax(err error) {
	f := Fault{Message: err.Error(), Hint: "indent with spaces, two a level"}
	var ye yamlError
	if errors.As(err, &ye) {
		f.Message = ye.GetMessage()
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			f.Line, f.Column = tk.Position.Line, tk.Position.Column
		}
	}
	d.faults = append(d.faults, f)
}
