import * as z from "zod";
import { Moment, Name, page, Count } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

export const TemplateType = z.enum(["CodeInterpreter", "Browser", "AllInOne", "Desktop", "CustomImage"]);
export type TemplateType = z.output<typeof TemplateType>;

/** Those in which a browser runs: its own sandbox needs what is denied to all others. */
export const BROWSER_TYPES: ReadonlySet<string> = new Set<TemplateType>(["Browser", "AllInOne", "Desktop"]);

/** Environment variables for what runs inside: never a place for secrets. */
export const Environment = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "is not a variable name"),
    z
      .string()
      .max(32_768)
      .regex(/^[^\0]*$/, "holds a NUL"),
  )
  .refine((entries) => Object.keys(entries).length <= LIMITS.environmentEntries, `holds at most ${LIMITS.environmentEntries} variables`);

/** The sizes that Function Compute has: memory in steps of 64 MiB, one of two disks. */
const size = {
  cpu: z.number().min(0.05).max(16),
  memoryMiB: z.int().min(256).max(32_768).multipleOf(64),
  diskMiB: z.literal([512, 10_240], "must be 512 or 10240"),
};

/** The image of a template of the type `CustomImage`: what it is called on this machine, what runs in it, where that listens. */
export const Container = z.object({
  image: z.string().min(1).max(512),
  /** Instead of the image's own entrypoint and command; none leaves both as they are. */
  command: z
    .array(
      z
        .string()
        .max(32_768)
        .regex(/^[^\0]*$/, "holds a NUL"),
    )
    .max(64),
  port: z.int().min(1).max(65_535),
});
export type Container = z.output<typeof Container>;

/** The port that AgentRun's images listen on. */
export const CONTAINER_PORT = 5000;

export type ContainerInput = z.output<typeof ContainerInput>;
export const ContainerInput = z.strictObject({
  image: Container.shape.image,
  command: Container.shape.command.default([]),
  port: Container.shape.port.default(CONTAINER_PORT),
});

const Prepared = z.int().min(0).max(LIMITS.preparedMax);

/** How many instances wait for the template's next sandboxes: never fewer than one, never more than the other, by demand between. */
export const Scaling = z.object({ minPrepared: z.int(), maxPrepared: z.int() });
export type Scaling = z.output<typeof Scaling>;

/** What of it is there now, and what would suit the demand. */
export const PreparedNow = z.object({ ready: z.int(), making: z.int(), wanted: z.int() });
export type PreparedNow = z.output<typeof PreparedNow>;

/** What a sandbox is made from. `cpu` is in cores; the network is closed unless a later policy opens hosts. */
export const Template = z.object({
  name: Name,
  type: TemplateType,
  description: z.string(),
  cpu: z.number(),
  memoryMiB: z.int(),
  diskMiB: z.int(),
  idleTimeoutMs: z.int(),
  lifetimeMs: z.int(),
  environment: Environment,
  container: Container.optional(),
  network: z.object({ mode: z.literal("none") }),
  scaling: Scaling,
  autoPause: z.boolean(),
  autoResume: z.boolean(),
  builtIn: z.boolean(),
  version: z.int(),
  createdAt: Moment,
  updatedAt: Moment,
});
export type Template = z.output<typeof Template>;

/** A template and its instances that wait. */
export const TemplateNow = Template.extend({ prepared: PreparedNow });
export type TemplateNow = z.output<typeof TemplateNow>;

const editable = {
  description: z.string().max(1000).optional(),
  cpu: size.cpu.optional(),
  memoryMiB: size.memoryMiB.optional(),
  idleTimeoutMs: z.int().positive().optional(),
  lifetimeMs: z.int().positive().optional(),
  environment: Environment.optional(),
  /** Only of the type `CustomImage`, and there required. */
  container: ContainerInput.optional(),
  scaling: z.strictObject({ minPrepared: Prepared.optional(), maxPrepared: Prepared.optional() }).optional(),
  /** What being idle does to a sandbox: it is paused, instead of ended. */
  autoPause: z.boolean().optional(),
  /** What a request to a paused sandbox does: it wakes it, instead of being refused. */
  autoResume: z.boolean().optional(),
};

export const CreateTemplate = z.strictObject({
  name: Name,
  type: TemplateType.default("CodeInterpreter"),
  ...editable,
  diskMiB: size.diskMiB.optional(),
});
export type CreateTemplate = z.output<typeof CreateTemplate>;

export const UpdateTemplate = z.strictObject(editable);
export type UpdateTemplate = z.output<typeof UpdateTemplate>;

const params = z.object({ name: z.string() });

export const createTemplate = operation({
  id: "createTemplate",
  method: "post",
  path: "/api/templates",
  summary: "Make a template: the size, limits and environment that sandboxes start from",
  body: CreateTemplate,
  status: 201,
  returns: Template,
  errors: ["invalid_request", "already_exists", "not_supported", "image_not_found", "image_not_valid"],
});

export const listTemplates = operation({
  id: "listTemplates",
  method: "get",
  path: "/api/templates",
  summary: "List the project's templates and the built-in ones, by name",
  query: z.strictObject({ after: z.string().optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) }),
  status: 200,
  returns: page(Template),
  errors: ["invalid_request"],
});

export const getTemplate = operation({
  id: "getTemplate",
  method: "get",
  path: "/api/templates/:name",
  summary: "Read one template, and how many instances wait for its next sandboxes",
  params,
  status: 200,
  returns: TemplateNow,
  errors: ["template_not_found"],
});

export const updateTemplate = operation({
  id: "updateTemplate",
  method: "patch",
  path: "/api/templates/:name",
  summary: "Change a template; sandboxes that exist keep what they were made with",
  params,
  body: UpdateTemplate,
  status: 200,
  returns: Template,
  errors: ["template_not_found", "invalid_request", "forbidden", "image_not_found", "image_not_valid"],
});

export const deleteTemplate = operation({
  id: "deleteTemplate",
  method: "delete",
  path: "/api/templates/:name",
  summary: "Delete a template that no living sandbox uses",
  params,
  status: 204,
  errors: ["template_not_found", "template_in_use", "forbidden"],
});
