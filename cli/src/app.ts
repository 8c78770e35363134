import {
  type Application,
  buildApplication,
  buildRouteMap,
  formatMessageForArgumentScannerError,
  ArgumentScannerError,
  ExitCode,
  type InputCompletion,
  proposeCompletions,
  run,
  text_en,
} from "@stricli/core";
import { installCommand } from "./commands/agent/install.ts";
import { runCommand } from "./commands/agent/run.ts";
import { uninstallCommand } from "./commands/agent/uninstall.ts";
import { approveListCommand } from "./commands/approve/list.ts";
import { approvePruneCommand } from "./commands/approve/prune.ts";
import { approveRemovalCommand } from "./commands/approve/removal.ts";
import { auditListCommand } from "./commands/audit/list.ts";
import { auditVerifyCommand } from "./commands/audit/verify.ts";
import { caActivateCommand, caRetireCommand, caStageCommand } from "./commands/ca/change.ts";
import { caListCommand } from "./commands/ca/list.ts";
import { addCommand } from "./commands/cluster/add.ts";
import { labelCommand } from "./commands/cluster/label.ts";
import { listCommand as clusterListCommand } from "./commands/cluster/list.ts";
import { removeCommand } from "./commands/cluster/remove.ts";
import { showCommand as clusterShowCommand } from "./commands/cluster/show.ts";
import { tokenCommand } from "./commands/cluster/token.ts";
import { acceptCommand } from "./commands/drift/accept.ts";
import { defaultsCommand as driftDefaultsCommand } from "./commands/drift/defaults.ts";
import { listCommand as driftListCommand } from "./commands/drift/list.ts";
import { showCommand as driftShowCommand } from "./commands/drift/show.ts";
import { eventsCommand } from "./commands/event/events.ts";
import { createCommand } from "./commands/fleet/create.ts";
import { deleteCommand } from "./commands/fleet/delete.ts";
import { diffCommand } from "./commands/fleet/diff.ts";
import { historyCommand } from "./commands/fleet/history.ts";
import { lintCommand } from "./commands/fleet/lint.ts";
import { listCommand as fleetListCommand } from "./commands/fleet/list.ts";
import { renderCommand } from "./commands/fleet/render.ts";
import { showCommand as fleetShowCommand } from "./commands/fleet/show.ts";
import { statusCommand } from "./commands/fleet/status.ts";
import { syncCommand } from "./commands/fleet/sync.ts";
import { traceCommand } from "./commands/fleet/trace.ts";
import { waitCommand } from "./commands/fleet/wait.ts";
import { rulesCommand } from "./commands/health/rules.ts";
import { doctorCommand } from "./commands/hub/doctor.ts";
import { startCommand } from "./commands/hub/start.ts";
import { contextListCommand } from "./commands/login/context-list.ts";
import { contextUseCommand } from "./commands/login/context-use.ts";
import { loginCommand } from "./commands/login/login.ts";
import { completionCommand } from "./commands/program/completion.ts";
import { resumeCommand } from "./commands/suspend/resume.ts";
import { rolloutActCommand, rolloutApproveCommand } from "./commands/rollout/act.ts";
import { freezeCommand, holdCommand, unfreezeCommand } from "./commands/rollout/hold.ts";
import { rolloutListCommand } from "./commands/rollout/list.ts";
import { forgeCheckCommand, forgeChecksCommand } from "./commands/forge/checks.ts";
import { forgeListCommand } from "./commands/forge/list.ts";
import { forgeRemoveCommand } from "./commands/forge/remove.ts";
import { forgeSetCommand } from "./commands/forge/set.ts";
import { forgeTestCommand } from "./commands/forge/test.ts";
import { notifyListCommand, notifyRemoveCommand } from "./commands/notify/list.ts";
import { notifySetCommand } from "./commands/notify/set.ts";
import { rollbackCommand } from "./commands/rollout/rollback.ts";
import { rolloutShowCommand } from "./commands/rollout/show.ts";
import { rolloutStatusCommand } from "./commands/rollout/status.ts";
import { rolloutWatchCommand } from "./commands/rollout/watch.ts";
import { tokenCreateCommand } from "./commands/token/create.ts";
import { tokenListCommand, tokenRevokeCommand } from "./commands/token/list.ts";
import { suspendCommand } from "./commands/suspend/suspend.ts";
import { suspensionsCommand } from "./commands/suspend/list.ts";
import { overrideCommand } from "./commands/window/override.ts";
import { restoreCommand } from "./commands/window/restore.ts";
import { versionCommand } from "./commands/program/version.ts";
import { exitCodes } from "./exit-codes.ts";
import type { FleetContext } from "./fleet-context.ts";
import { FleetError } from "./fleet-error.ts";
import { wantsColour } from "./render/palette.ts";
import { cliVersion } from "./version.ts";

const root = buildRouteMap<string, FleetContext>({
  docs: {
    brief: "Keep many Kubernetes clusters equal to what Git says",
    fullDescription: [
      "Keep many Kubernetes clusters equal to what Git says.",
      "",
      "START HERE",
      "  fleet hub start                                  a complete hub on this machine",
      "  fleet cluster add berlin-1 --label env=prod      prints the command that joins the cluster",
      "  fleet create shop --repo URL --path deploy       a fleet that follows a Git repository",
      "  fleet status shop --watch                        what runs where",
      "",
      "EXIT STATUS",
      "  0 done, 1 failed, 2 wrong use, 3 difference found, 4 timed out, 5 not allowed, 6 cannot reach the hub",
    ].join("\n"),
  },
  routes: {
    status: statusCommand,
    list: fleetListCommand,
    show: fleetShowCommand,
    create: createCommand,
    delete: deleteCommand,
    sync: syncCommand,
    suspend: suspendCommand,
    resume: resumeCommand,
    suspensions: suspensionsCommand,
    window: buildRouteMap({
      docs: { brief: "Sync windows in an emergency: override, restore" },
      routes: { override: overrideCommand, restore: restoreCommand },
    }),
    rollout: buildRouteMap({
      docs: { brief: "Waves in which a revision reaches a fleet: status, watch, approve, pause" },
      routes: {
        status: rolloutStatusCommand,
        watch: rolloutWatchCommand,
        approve: rolloutApproveCommand,
        pause: rolloutActCommand("pause"),
        resume: rolloutActCommand("resume"),
        abort: rolloutActCommand("abort"),
        restart: rolloutActCommand("restart"),
        list: rolloutListCommand,
        show: rolloutShowCommand,
      },
    }),
    rollback: rollbackCommand,
    hold: holdCommand,
    freeze: freezeCommand,
    unfreeze: unfreezeCommand,
    wait: waitCommand,
    history: historyCommand,
    diff: diffCommand,
    trace: traceCommand,
    render: renderCommand,
    lint: lintCommand,
    events: eventsCommand,
    approve: buildRouteMap({
      docs: { brief: "Let what is held for a person go: deletions, clusters that leave" },
      routes: { prune: approvePruneCommand, removal: approveRemovalCommand, list: approveListCommand },
    }),
    audit: buildRouteMap({ docs: { brief: "Who did what, and whether that record is whole" }, routes: { list: auditListCommand, verify: auditVerifyCommand } }),
    drift: buildRouteMap({
      docs: { brief: "What differs from Git on the clusters" },
      routes: { list: driftListCommand, show: driftShowCommand, accept: acceptCommand, defaults: driftDefaultsCommand },
    }),
    forge: buildRouteMap({
      docs: { brief: "Pull requests and commit statuses: set, test, list, checks, check, remove" },
      routes: {
        set: forgeSetCommand,
        test: forgeTestCommand,
        list: forgeListCommand,
        checks: forgeChecksCommand,
        check: forgeCheckCommand,
        remove: forgeRemoveCommand,
      },
    }),
    token: buildRouteMap({
      docs: { brief: "Tokens of people and programs: create, list, revoke" },
      routes: { create: tokenCreateCommand, list: tokenListCommand, revoke: tokenRevokeCommand },
    }),
    notify: buildRouteMap({
      docs: { brief: "Who is told how rollouts end: set, list, remove" },
      routes: { set: notifySetCommand, list: notifyListCommand, remove: notifyRemoveCommand },
    }),
    health: buildRouteMap({ docs: { brief: "How health is judged" }, routes: { rules: rulesCommand } }),
    cluster: buildRouteMap({
      docs: { brief: "Clusters: add, list, show, label, remove" },
      routes: { add: addCommand, list: clusterListCommand, show: clusterShowCommand, label: labelCommand, remove: removeCommand, token: tokenCommand },
    }),
    ca: buildRouteMap({
      docs: { brief: "The hub's CA, and its change without an outage: list, stage, activate, retire" },
      routes: { list: caListCommand, stage: caStageCommand, activate: caActivateCommand, retire: caRetireCommand },
    }),
    agent: buildRouteMap({
      docs: { brief: "The agent in a cluster: install, uninstall, run" },
      routes: { install: installCommand, uninstall: uninstallCommand, run: runCommand },
    }),
    hub: buildRouteMap({ docs: { brief: "Run a hub" }, routes: { start: startCommand } }),
    login: loginCommand,
    context: buildRouteMap({ docs: { brief: "Saved logins: list, use" }, routes: { list: contextListCommand, use: contextUseCommand } }),
    doctor: doctorCommand,
    version: versionCommand,
    completion: completionCommand,
  },
  aliases: { ls: "list" },
});

/** Runs one command line and gives its exit status. */
export async function runFleet(args: readonly string[], context: Omit<FleetContext, "exitWith">): Promise<number> {
  let chosen: number | undefined;
  const full: FleetContext = { ...context, exitWith: (code) => void (chosen = code) };
  if (args[0] === "__complete") {
    await complete(args[1] === "--" ? args.slice(2) : args.slice(1), full);
    return exitCodes.done;
  }
  const application = build(full);
  const streams = { stdout: colourStream(full, "stdout"), stderr: colourStream(full, "stderr") };
  const state: { exitCode?: number | string | null } = {};
  // stricli reads colours from getColorDepth and writes the status to exitCode; the commands see our own streams.
  const process = Object.assign(state, { ...streams, env: {} });
  await run(application, args, { ...full, process });
  return exitStatus(state.exitCode, chosen);
}

function exitStatus(from: number | string | null | undefined, chosen: number | undefined): number {
  const code = Number(from ?? 0);
  if (code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument) return exitCodes.wrongUse;
  if (code < 0) return exitCodes.failed;
  return code === 0 ? (chosen ?? 0) : code;
}

function build(context: FleetContext): Application<FleetContext> {
  return buildApplication(root, {
    name: "fleet",
    versionInfo: { currentVersion: cliVersion() },
    scanner: { caseStyle: "allow-kebab-for-camel", allowArgumentEscapeSequence: true },
    documentation: { caseStyle: "convert-camel-to-kebab", useAliasInUsageLine: false, onlyRequiredInUsageLine: true },
    completion: { includeAliases: false, includeHiddenRoutes: false },
    determineExitCode: (error) => (error instanceof FleetError ? error.exitCode : exitCodes.failed),
    localization: {
      text: {
        ...text_en,
        noCommandRegisteredForInput: ({ input, corrections }) =>
          lines(
            `there is no command '${input}'`,
            corrections.length === 0
              ? "'fleet --help' lists the commands"
              : `did you mean ${corrections.map((word) => `'${word.replaceAll("`", "")}'`).join(" or ")}?`,
          ),
        exceptionWhileParsingArguments: (error) =>
          lines(error instanceof ArgumentScannerError ? scannerMessage(error) : String(error), "--help shows the flags and examples"),
        exceptionWhileRunningCommand: (error) => errorText(error, context.env.FLOTILLA_DEBUG !== undefined),
        exceptionWhileLoadingCommandFunction: (error) => errorText(error, true),
        commandErrorResult: (error) => errorText(error, false),
      },
    },
  });
}

/** Flags as they are typed (kebab-case), and the reason of a parse without its class. */
function scannerMessage(error: ArgumentScannerError): string {
  return formatMessageForArgumentScannerError(error, {
    ArgumentParseError: ({ externalFlagNameOrPlaceholder, input, exception }) =>
      `${flagText(externalFlagNameOrPlaceholder)} is '${input}': ${exception instanceof Error ? exception.message : String(exception)}`,
    FlagNotFoundError: ({ input, corrections }) =>
      `there is no flag --${kebab(input)}${corrections.length === 0 ? "" : `; did you mean ${corrections.map((word) => `--${kebab(word.replaceAll("`", ""))}`).join(" or ")}?`}`,
    AliasNotFoundError: ({ input }) => `there is no flag -${input}`,
    UnsatisfiedFlagError: ({ externalFlagName }) => `--${kebab(externalFlagName)} is missing`,
    UnsatisfiedPositionalError: ({ placeholder }) => `${placeholder} is missing`,
    UnexpectedPositionalError: ({ input, expectedCount }) =>
      `'${input}' is too much: this takes ${expectedCount === 0 ? "no words" : `${expectedCount} word${expectedCount === 1 ? "" : "s"}`} besides its flags`,
    EnumValidationError: ({ externalFlagName, input, values }) => `--${kebab(externalFlagName)} is '${input}': it takes ${values.join(", ")}`,
  });
}

function flagText(nameOrPlaceholder: string): string {
  return /^[A-Z]/.test(nameOrPlaceholder) || nameOrPlaceholder.includes("|") ? nameOrPlaceholder : `--${kebab(nameOrPlaceholder)}`;
}

function kebab(name: string): string {
  return name.replace(/^--/, "").replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function errorText(error: unknown, withStack: boolean): string {
  if (error instanceof FleetError)
    return [`error: ${error.message}`, ...error.lines.map((line) => `  ${line}`), ...(error.hint === undefined ? [] : [`  hint: ${error.hint}`])].join("\n");
  const { message, stack } = error as Error;
  return withStack ? `error: ${stack ?? message}` : lines(message, "this is not expected; FLOTILLA_DEBUG=1 shows where it comes from");
}

function lines(message: string, hint: string): string {
  return `error: ${message}\n  hint: ${hint}`;
}

function colourStream(context: FleetContext, which: "stdout" | "stderr"): FleetContext["process"]["stdout"] & { getColorDepth?: () => number } {
  const stream = context.process[which];
  return {
    write: (text) => {
      stream.write(text);
    },
    ...(stream.isTTY !== undefined && { isTTY: stream.isTTY }),
    get columns() {
      return stream.columns ?? 80;
    },
    ...(stream.rows !== undefined && {
      get rows() {
        return stream.rows ?? 24;
      },
    }),
    ...(wantsColour(stream, context.env) && { getColorDepth: () => 4 }),
  };
}

/** For the shells' scripts: one offer a line, with a tab before its explanation. Never an error. */
async function complete(words: readonly string[], context: FleetContext): Promise<void> {
  const offers = await proposeCompletions(build(context), words.length === 0 ? [""] : words, context).catch((): InputCompletion[] => []);
  for (const { completion, brief } of offers) context.process.stdout.write(`${completion}\t${brief}\n`);
}
