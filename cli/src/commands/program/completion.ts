import { buildCommand } from "@stricli/core";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];

/** Each asks `fleet __complete` with the words up to the cursor, and offers the lines it prints: word, tab, explanation. */
const scripts: Readonly<Record<Shell, string>> = {
  bash: `# fleet completion for bash. Install: fleet completion bash > ~/.local/share/bash-completion/completions/fleet
_fleet_complete() {
  local IFS=$'\\n' line
  COMPREPLY=()
  while read -r line; do
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(fleet __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _fleet_complete fleet`,
  zsh: `#compdef fleet
# fleet completion for zsh. Install: fleet completion zsh > "\${fpath[1]}/_fleet"
_fleet() {
  local -a lines offers
  lines=("\${(@f)$(fleet __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  local line
  for line in $lines; do
    [[ -n $line ]] && offers+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  (( $#offers )) && _describe 'fleet' offers || _files
}
if [ "\${funcstack[1]}" = "_fleet" ]; then _fleet; else compdef _fleet fleet; fi`,
  fish: `# fleet completion for fish. Install: fleet completion fish > ~/.config/fish/completions/fleet.fish
function __fleet_complete
  set -l words (commandline -opc)
  fleet __complete -- $words[2..] (commandline -ct) 2>/dev/null
end
complete -c fleet -f -a '(__fleet_complete)'`,
};

export const completionCommand = buildCommand({
  docs: {
    brief: "Print the completion script of a shell",
    fullDescription: helpText(
      "Completes commands, flags, and the names of fleets and clusters of the hub you are logged in to.",
      "source <(fleet completion bash)",
      'fleet completion zsh > "${fpath[1]}/_fleet"',
      "fleet completion fish > ~/.config/fish/completions/fleet.fish",
    ),
  },
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [
        {
          parse: shell,
          placeholder: "bash|zsh|fish",
          brief: "The shell",
          proposeCompletions: (partial: string) => shells.filter((name) => name.startsWith(partial)),
        },
      ],
    },
  },
  func(this: FleetContext, _flags: NonNullable<unknown>, name: Shell): void {
    say(this, scripts[name]);
  },
});

function shell(input: string): Shell {
  const found = shells.find((name) => name === input);
  if (!found) throw new Error(`it takes ${shells.join(", ")}`);
  return found;
}
