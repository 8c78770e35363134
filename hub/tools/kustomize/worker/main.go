// Builds kustomizations one after the other in one process: starting the program costs more than most builds. It is the library that the program
// kustomize is made of, of the same version, with the options of `kustomize build`. It sees the files that it is sent and nothing else.
//
// A request is one line of JSON on stdin, an answer one on stdout. It ends when stdin does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provenance"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

type request struct {
	// From the repository's root; "" is the root.
	Folder string `json:"folder"`
	// Contents by path from the repository's root.
	Files map[string][]byte `json:"files"`
}

type answer struct {
	Output string `json:"output"`
	// Empty when all went well.
	Error string `json:"error"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println(provenance.GetProvenance().Semver())
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			fail(err)
		}
		var wanted request
		if err := json.Unmarshal(line, &wanted); err != nil {
			fail(err)
		}
		if err := out.Encode(build(wanted)); err != nil {
			fail(err)
		}
	}
}

func build(wanted request) answer {
	files := filesys.MakeFsInMemory()
	for path, content := range wanted.Files {
		if err := files.WriteFile("/repository/"+path, content); err != nil {
			return answer{Error: err.Error()}
		}
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	// Every run begins with the schemas that the library brings along, whatever the one before used.
	objects, err := krusty.MakeKustomizer(options).Run(files, "/repository/"+wanted.Folder)
	if err != nil {
		return answer{Error: err.Error()}
	}
	output, err := objects.AsYaml()
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Output: string(output)}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
