/**
 * Which message reports which fault. The first rule that fits decides, so the particular stand
 * before the general; within a group severity goes from the worst down. A severity is that of a
 * line at level ERROR, WARN or without a level; classify.ts moves it for the other levels.
 *
 * Severities: CRITICAL the machine or its data is going; HIGH a service is failing or an attack
 * goes on; MEDIUM something failed that somebody wanted; LOW refused or lost, with nothing to mend.
 */
import type { Severity } from '../vocabulary.ts';
import type { Fault, FaultType } from './fault-types.ts';

export interface FaultRule extends Fault {
  readonly pattern: RegExp;
  /** The severity stands whatever the level says. */
  readonly fixed: boolean;
}

function rule(type: FaultType, severity: Severity, ...patterns: string[]): FaultRule {
  return { type, severity, pattern: new RegExp(patterns.join('|'), 'i'), fixed: false };
}

function fixed(type: FaultType, severity: Severity, ...patterns: string[]): FaultRule {
  return { ...rule(type, severity, ...patterns), fixed: true };
}

/** Who comes in: OpenSSH, PAM, Kerberos, databases' logins, file rights. */
const accessRules: readonly FaultRule[] = [
  rule(
    'INTRUSION_ATTEMPT',
    'HIGH',
    'possible break-in attempt',
    'too many authentication failures',
    'maximum authentication attempts exceeded',
    '\\bignoring max retries',
    '\\bPAM (?:[2-9]|\\d\\d+) more authentication failures',
    'message repeated \\d+ times: \\[ ?(?:failed|authentication failure)',
    'brute.?force|port ?scan|sql injection|intrusion (?:attempt|detected)',
    'attack (?:detected|blocked)',
    'exploit attempt|possible SYN flooding|path traversal (?:attempt|detected)',
  ),
  fixed(
    'INTRUSION_ATTEMPT',
    'LOW',
    'did not receive identification string|bad protocol version identification',
    'unable to negotiate with|no matching (?:host key|cipher|key exchange|mac)',
    'banner exchange.*(?:invalid|fail)|\\bscanned from\\b',
  ),
  fixed(
    'AUTHENTICATION_FAILURE',
    'LOW',
    // An account that does not exist cannot be entered.
    '\\binvalid user\\b|\\buser unknown\\b(?! timed)|\\bunknown user\\b|no such user',
    '\\billegal user\\b',
    'Received disconnect from .*auth fail|no more user authentication methods',
  ),
  rule(
    'AUTHENTICATION_FAILURE',
    'HIGH',
    'failed \\w+ for (?:root|administrator)\\b',
    'authentication failure;.*\\buser=(?:root|administrator)\\b',
    'FAILED SU\\b|login failed for user .?(?:root|sa|admin|administrator)\\b',
  ),
  rule(
    'AUTHENTICATION_FAILURE',
    'MEDIUM',
    'auth(?:entication|orization)? (?:failure|failed|error|denied|rejected)',
    'failed (?:password|publickey|login|logon|authentication)',
    'log(?:in|on) (?:failed|failure|incorrect|error)|failed to (?:authenticate|log ?in)',
    'AuthenticationException',
    "(?:could ?n[o']t|cannot|can't|unable to) (?:authenticate|log ?in)",
    '(?:invalid|bad|wrong|incorrect|expired) (?:\\w+ )?(?:credentials?|password|token|login' +
      '|api key)',
    'access denied for user|permission denied \\(publickey|replay cache',
    'bad (?:user|password)|\\bunauthori[sz]ed\\b',
    'password (?:mismatch|check failed)|not authenticated|account (?:is )?locked|\\bkinit\\b.*fail',
    'possible.*credential|invalid authentication|user name or password',
  ),
  fixed(
    'PERMISSION_DENIED',
    'LOW',
    'forbidden by rule|client denied by server configuration|does not hold [A-Z_]+',
    '\\bdeny\\(\\d\\)',
    'access forbidden by',
  ),
  rule(
    'PERMISSION_DENIED',
    'MEDIUM',
    'permission (?:is )?denied|access (?:is |was )?denied|\\bforbidden\\b',
    'operation not permitted|\\bEACCES\\b|\\bEPERM\\b',
    '\\bnot (?:authori[sz]ed|permitted)\\b|not in (?:the )?sudoers|avc: +denied|SecurityException',
    'AccessControlException|insufficient (?:privileges?|permissions?|rights)',
    'must be (?:root|owner|superuser)',
    'apparmor="DENIED"|denied by (?:policy|rule|admin)|not allowed to\\b|E_ACCESSDENIED',
  ),
];

/** Kernel, memory, disks and other hardware. */
const hostRules: readonly FaultRule[] = [
  rule(
    'KERNEL_FAULT',
    'CRITICAL',
    'kernel panic|unable to handle kernel|\\bOops: |kernel BUG at',
    'general protection fault|not syncing',
    'domain panic|rts panic|rts internal error|kernel terminated|machine restart.*panic',
  ),
  rule(
    'KERNEL_FAULT',
    'HIGH',
    '\\bBUG: |soft lockup|hard lockup|blocked for more than \\d+ seconds|hung_task',
    '\\brcu\\w* .*stall',
    'Call Trace:|scheduling while atomic|bad page state|NMI received|rts: kernel',
    'page allocation failure',
  ),
  rule(
    'OUT_OF_MEMORY',
    'CRITICAL',
    'out of memory.*kill|\\boom[-_ ]?kill|\\bkilled process \\d+|\\bOOMKilled\\b',
    'lowmemorykiller.*kill',
  ),
  rule(
    'OUT_OF_MEMORY',
    'HIGH',
    'out ?of ?memory|cannot allocate memory|memory allocation (?:failed|error)',
    'failed to allocate|bad_alloc',
    '(?:could not|unable to) (?:allocate|reserve)|not enough memory|insufficient memory',
    '\\bMemoryError\\b|\\bENOMEM\\b',
    'heap space|GC overhead limit|memory exhausted|beyond physical memory limits|memory quota',
  ),
  rule(
    'STORAGE_FULL',
    'HIGH',
    'no space left|disk (?:is )?full|file ?system (?:is )?full',
    'quota (?:has been )?exceeded|exceed\\w* (?:\\w+ )?quota|\\bENOSPC\\b',
    '(?:out of|not enough|insufficient|low|low on) (?:free )?(?:disk )?(?:space|storage)',
    'DiskOutOfSpace|volume is full',
  ),
  rule(
    'DISK_FAILURE',
    'HIGH',
    '\\bI/O error|input/output error|medium error|bad (?:sector|block)s?\\b',
    'unrecovered read|lost page write',
    'ext[234]-fs.{0,40}error|xfs.{0,60}(?:error|corrupt|shut)',
    'remount\\w*.{0,40}read-only|read-only file ?system',
    'SMART.{0,40}(?:fail|error|prefail|threshold)',
    '(?:disk|drive|volume|raid|array|mirror).{0,40}\\b(?:fail(?:ed|ure|ing)|degraded|offline' +
      '|error)',
    '\\bscsi.{0,60}(?:error|abort|timeout|reset)',
    '\\bata\\d.{0,60}(?:exception|error|failed)|\\bmount.{0,60}fail|fsck.{0,60}fail',
    'DiskErrorException|\\bEIO\\b|rejecting I/O|sense key',
  ),
  rule(
    'HARDWARE_FAULT',
    'HIGH',
    'machine check (?:interrupt|exception|error|event)|hardware (?:error|fault|failure)',
    'uncorrect(?:ed|able)|multi-?bit',
    '(?:parity|ecc|ddr|edram|sram|dram|tlb|cache|bus|dimm|pci\\w*|torus|tree|ido|fpu|link) ' +
      '(?:\\w+ )?errors?\\b',
    'temperature.{0,60}(?:exceed|above|critical|over)|over ?(?:heat|temp)\\w*',
    'thermal (?:trip|shutdown|event)',
    '\\bfans?\\b.{0,40}(?:fail|fault|stopp|error|missing)',
    'power (?:supply |module )?(?:fail|loss|lost|fault|error|deactivated)',
    '\\bPSU\\b.{0,40}fail',
    'alignment exceptions?$|storage interrupt$',
    '(?:node|link|service) ?card.{0,60}(?:fail|error|not|problem)',
    'hardware monitor.{0,40}fail',
    'voltage.{0,40}(?:out of range|fail|low|exceed)|lp?\\d+ on fire|GPU has fallen|\\bXid\\b',
  ),
];

/** Data and the ways it takes. */
const dataRules: readonly FaultRule[] = [
  rule(
    'CERTIFICATE_PROBLEM',
    'MEDIUM',
    'certificate.{0,80}(?:expire|invalid|unknown|verif|revoked|fail|self.signed|mismatch' +
      '|untrusted|not trusted)',
    '(?:SSL|TLS)[\\w :]*(?:handshake|error|routines|alert).{0,60}(?:fail|error|fatal|bad' +
      '|unknown|routines)',
    'x509:|PKIX|CERTIFICATE_VERIFY',
    'handshake (?:fail|error)|SSLHandshake|SSLException|no required SSL certificate|trust anchor',
  ),
  rule(
    'DATA_CORRUPTION',
    'HIGH',
    '\\bcorrupt|checksum (?:error|mismatch|fail|verif\\w+ fail)|bad checksum',
    '\\bcrc (?:error|mismatch|fail)|data loss',
    '\\bChecksumException|integrity (?:error|check fail|violation)|torn page',
    'invalid page|missing blocks?\\b|block.{0,60}(?:is|are) missing',
    'lost.{0,30}\\bblocks?\\b|STORE_CORRUPT|digest mismatch|superblock',
  ),
  rule(
    'DATA_CORRUPTION',
    'MEDIUM',
    'inconsisten|out of sync\\b|does not match',
    '\\d+ instances? in the database and (?!0 )?\\d+|duplicate key|constraint violat',
    'violates .*constraint',
    'orphan(?:ed)? (?:record|row|block|inode)|stale (?:data|replica)|duplicate ownership',
  ),
  fixed(
    'CONNECTION_FAILURE',
    'LOW',
    // The other side went away; servers see this all day.
    'caught end of stream|end of stream exception|getpeername|get client address',
    'client.{0,30}(?:disconnected|closed|reset)',
    '(?:write failed|read error): (?:connection reset|broken pipe)|reset by peer.*\\[preauth\\]',
  ),
  rule(
    'CONNECTION_FAILURE',
    'HIGH',
    'cannot open channel to|shutdown while sock|no live upstreams',
    'could not connect to any',
    'all (?:hosts|brokers|nodes).{0,20}(?:down|unreachable|failed)',
    'too many connections|remaining connection slots',
  ),
  rule(
    'CONNECTION_FAILURE',
    'MEDIUM',
    'connection (?:was |has been |is |to \\S+ (?:was |has )?)?(?:refused|reset|broken|lost' +
      '|abort\\w*|fail\\w*|error|dropped|closed (?:unexpectedly|prematurely|before))',
    "(?:could ?n[o']t|cannot|can't|unable to|failed to|failure to|failed) (?:re)?(?:connect" +
      '|reach|contact|resolve|bind|listen|establish|open (?:channel|connection|socket|port))',
    "(?:could not|cannot|can't|unable to|not) (?:create|make|assign) \\w* ?(?:socket" +
      '|connection|address)',
    'address already in use|EADDRINUSE',
    'no route to host|host (?:is )?(?:unreachable|down)',
    'network (?:is )?(?:unreachable|down)|broken pipe',
    '\\bE(?:CONN\\w+|HOSTUNREACH|NOTFOUND|PIPE|NETUNREACH)\\b',
    'not connected\\b|\\bsock(?:et)?\\b.{0,30}\\b(?:error|exception|closed|fail)',
    'software caused connection|reset by peer',
    'lost connection|disconnected unexpectedly',
    '\\blinks? (?:is |has gone |on \\S+ )?(?:down|fail\\w*)|link error|name resolution',
    'UnknownHost|(?:Connect|Socket|NoRouteToHost|Transport)Exception',
    'retrying connect to server|\\bDNS\\b.{0,40}(?:fail|error)|\\bunreachable\\b',
    'connect\\(\\) failed|getaddrinfo.{0,60}fail',
    'peer (?:is )?(?:gone|disconnected|lost)',
    'control stream|lost its connection|server has gone away',
    'connection.{0,40}(?:interrupted unexpectedly|terminated unexpectedly)',
    'through proxy .{0,80}(?:fail|cannot)',
    'carrier lost|carrier detected: no|bad gateway upstream',
    'upstream (?:server )?(?:prematurely|sent invalid)|host not found',
  ),
  fixed(
    'TIMEOUT',
    'LOW',
    '\\bexpiring session\\b|idle.{0,20}time(?:d )?out|user .{0,40} timed out after \\d+ seconds',
  ),
  rule(
    'TIMEOUT',
    'MEDIUM',
    '\\btimed[- ]?out\\b|\\bgot timeout\\b',
    '\\btimeout (?:of \\S+ )?(?:exceeded|expired|reached|elapsed|occurred|waiting|while|after' +
      '|error|on\\b)',
    '\\bdeadline exceeded',
    '(?:operation|request|read|write|connect\\w*|lock|query|response|socket|gateway|statement' +
      '|heartbeat) time-?out\\b(?! *[:=] *\\d)',
    'TimeoutException|TimeoutError|Timeout: |\\bETIMEDOUT\\b|not respond(?:ing|ed)?\\b',
    'no response|took too long|time limit exceeded|statement timeout',
  ),
  rule(
    'DATA_TRANSFER_FAILURE',
    'MEDIUM',
    'exception while serving',
    'exception (?:in|while|for|during) (?:receiv|read|writ|transfer|fetch|send|serv|copy)\\w*',
    'failed to (?:transfer|send|receive|upload|download|fetch|push|pull|copy|replicate|deliver' +
      '|publish|flush|sync)',
    '(?:transfer|upload|download|fetch|replication|shuffle|delivery|send|sync|pull)(?:ing)? ' +
      '(?:has )?(?:fail|error|abort)\\w*',
    '(?:writeBlock|readBlock|receiveBlock).{0,80}exception',
    'PacketResponder.{0,80}exception|FetchFailed|ErrImagePull|ImagePullBackOff',
    'premature EOF|unexpected (?:EOF|end of (?:file|stream|data))|unexpected eof',
    'write failed|read failed|failed to (?:read|write)\\b|(?:read|write) error',
    "(?:could ?n[o']t|cannot|can't|unable to) (?:read|write|send|receive|fetch|download|upload" +
      '|transfer|copy)',
    'dropped \\d+ (?:packets|messages|events)',
  ),
];

/** Clusters, services, jobs, processes, applications. */
const serviceRules: readonly FaultRule[] = [
  rule(
    'JOB_FAILED',
    'MEDIUM',
    'exited abnormally with \\[',
    '(?:cron|anacron|backup|logrotate|batch|etl|job|jobs|task|build|pipeline|stage' +
      '|attempt_\\S+|task_\\S+|job_\\S+)\\b.{0,80}\\b(?:fail(?:ed|ure|s|ing)?|abort(?:ed)?' +
      '|error)\\b',
    'lost task|JobAborted|error running child|task.{0,40}\\bkilled\\b',
    'failed (?:the )?(?:job|task)|failed to (?:run|execute) ',
    'container.{0,60}exited with a non-?zero',
    'backup.{0,60}incomplete|diagnostics report from attempt',
  ),
  fixed('CLUSTER_DEGRADED', 'MEDIUM', '\\*{3,} ?GOODBYE\\b'),
  rule(
    'CLUSTER_DEGRADED',
    'HIGH',
    '\\bquorum\\b.{0,40}(?:lost|not|fail|unavailable|insufficient)|lost (?:the )?quorum',
    '\\bno (?:quorum|leader|master)\\b|split[- ]brain',
    'leader (?:lost|not available|election (?:failed|timed))|lost leader',
    'not enough (?:replicas|in-sync|nodes)|under-?replicated',
    '\\b(?:node|executor|datanode|tasktracker|nodemanager|worker|member|replica|broker|peer' +
      '|slave|follower)s?\\b.{0,60}\\b(?:is (?:down|dead|lost|unreachable)|not ?ready|marked ' +
      '(?:as )?(?:down|dead|failed)|was lost|timed out|removed.*(?:lost|dead)|expired)',
    'NodeNotReady|lost (?:node|executor|worker|heartbeat|datanode|nodemanager)',
    'executor lost|ExecutorLost|heartbeat.{0,40}(?:lost|expired|missed|fail)',
    'no live (?:datanodes|nodes)|dead datanode',
    'in the unavailable state|replica.{0,40}(?:lost|failed|missing)',
    'could only be replicated to 0|in safe ?mode|fencing failed',
  ),
  rule(
    'PROCESS_CRASH',
    'HIGH',
    '\\bsegfault|segmentation (?:fault|violation)',
    '\\bSIG(?:SEGV|ABRT|BUS|ILL|FPE|KILL)\\b|core dump|generating core|stack smashing',
    'double free',
    'has (?:crashed|died)|\\bcrash(?:ed|es|ing|LoopBackOff)?\\b|FATAL EXCEPTION',
    'force.finishing|\\bANR in|(?:unhandled|uncaught) (?:\\w+ )?exception',
    '\\bpanic: |panicked at|traceback \\(most|exited (?:abnormally|unexpectedly)',
    'terminated (?:abnormally|unexpectedly)|(?:killed|terminated) by signal',
    'died unexpectedly|fatal signal|\\btombstone',
    'process \\S+ .{0,60}(?:died\\b|exited with (?:code|status) [1-9-])|exit signal',
    'back-off restarting|aborted \\(core|program interrupt$',
    'deadlock (?:detected|found)|stack overflow',
  ),
  rule('PROCESS_CRASH', 'MEDIUM', 'assertion.{0,40}fail|abnormal (?:termination|exit)|\\bdied\\b'),
  fixed(
    'SERVICE_UNAVAILABLE',
    'MEDIUM',
    'ZooKeeperServer not running|the database system is (?:starting|shutting|in recovery)',
  ),
  rule(
    'SERVICE_UNAVAILABLE',
    'HIGH',
    '(?:child|worker)\\b.{0,30}\\bin error state|child init -?\\d+ -\\d',
    'service (?:is )?unavailable|temporarily unavailable',
    'failed to start|start-?up (?:has )?fail|failed with result|main process exited',
    'entered failed state|service start-limit',
    '(?:liveness|readiness|startup) probe (?:failed|errored)|\\bunhealthy\\b',
    'health ?check.{0,30}fail|not running\\b|no available (?:server|backend|instance)',
    '\\b(?:service|server|daemon|unit|backend|upstream|instance|pod|broker|database|controller' +
      '|component)\\b.{0,60}\\b(?:is (?:down|not available|unavailable|stopped|not responding)' +
      '|has failed|died|went down)\\b',
    '\\.service: (?:failed|main process exited|.*result .exit)',
    'aborting\\b.*(?:start|server)|unavailable\\b',
  ),
  fixed('SERVICE_UNAVAILABLE', 'MEDIUM', "can'?t find child \\d+ in scoreboard"),
  rule(
    'HTTP_ERROR',
    'MEDIUM',
    '\\bstatus(?: ?code)?["\']?[:= ]+["\']?5\\d\\d\\b|HTTP/\\d(?:\\.\\d)?" 5\\d\\d\\b',
    '\\b50[0234] (?:internal server error|bad gateway|service|gateway)',
    'HTTP exception|bad gateway|internal server error|gateway time-?out',
    '\\bHTTP(?:Error)?:? 5\\d\\d\\b',
  ),
  fixed(
    'CONFIGURATION_ERROR',
    'LOW',
    'question section contains no|invalid acpi|unrecognized \\w+ attribute',
    'registering capabilities|register_security failed|parent window is null',
    'CBS_E_\\w+|not a valid \\w+ (?:attribute|package)',
  ),
  rule(
    'CONFIGURATION_ERROR',
    'MEDIUM',
    '(?:invalid|illegal|unknown|unrecognized|missing|bad|unsupported|undefined) (?:\\w+ ){0,2}' +
      '(?:config\\w*|option|directive|param\\w*|argument|setting|property|attribute|variable' +
      '|syntax|column|table|relation|host ?name)\\b',
    'misconfig|syntax error|parse error|failed to (?:parse|load config)',
    '(?:could not|cannot|unable to) (?:parse|find (?:config|module|file|class))',
    'malformed',
    'no such file or directory',
    '(?:file|module|class|command|library) (?:\\S+ )?(?:was )?not found',
    'cannot open (?:shared|configuration|file)|ClassNotFound|NoSuchMethod|NoClassDef',
    'FileNotFound',
    '(?:relation|column|table|function|database|role|schema) "?\\S+"? does not exist',
    'configuration (?:error|is invalid|file.{0,40}(?:missing|invalid|error))',
    '\\bENOENT\\b',
  ),
  rule(
    'RESOURCE_WARNING',
    'MEDIUM',
    'too many open files|\\bEMFILE\\b|pool (?:is |has been )?(?:exhausted|full|empty)',
    'queue (?:is )?full|resource (?:\\w+ )?(?:exhausted|unavailable)|RejectedExecution',
    'limit (?:was |has been |is )?(?:exceeded|reached)',
    'exceed(?:s|ed|ing) (?:\\w+ ){0,3}(?:limit|threshold|quota|maximum|max)',
    'over (?:its )?(?:limit|quota)|overload|max_connections',
  ),
  rule(
    'RESOURCE_WARNING',
    'LOW',
    'throttl(?:ed|ing)|rate limit|slow (?:query|request|operation|sql|log)',
    "low (?:on )?memory|nearly full|running low|long GC|GC pause|lagging|can't keep up",
    'skipped \\d+ frames|clock (?:skew|drift|moved)|thermal pressure',
    'usage.{0,20}(?:high|above|\\b9\\d ?%)|high (?:cpu|memory|load)',
    'checkpoints are occurring too',
  ),
];

export const faultRules: readonly FaultRule[] = [
  ...accessRules,
  ...hostRules,
  ...serviceRules.slice(0, 2),
  ...dataRules,
  ...serviceRules.slice(2),
];
